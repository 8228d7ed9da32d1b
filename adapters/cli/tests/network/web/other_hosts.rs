//! The module outside of browsers. Skipped where there is no Node or no Deno.

use std::env;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::site::Site;
use crate::support::Server;

/// Names the program of Deno, if it is not among the commands.
const DENO: &str = "WWR_TEST_DENO";

/// What both run: it ends by itself when the client is closed.
fn program(site: &Site, server: &str) -> String {
    format!(
        "const {{ connect }} = await import({:?});
         const client = await connect({server:?});
         const say = (...what) => console.log(...what);
         say(client.protocol, await client.request('echo', 'from \u{1f98a}'));
         await client.request('login', {{ user: 'Ada' }});
         const {{ key, info }} = client.session;
         say(info.user);
         const signals = client.signals();
         await client.request('signal-me', 'a signal');
         say((await signals.next()).value.payload);
         client.close();
         await client.connect();
         say(client.session.key === key);
         await client.closeSession();
         say(client.session, await client.request('no such name').catch((error) => `${{error.name}} ${{error.code}}`));
         client.close();",
        format!("file://{}", site.module().display())
    )
}

/// What both run before the module is loaded.
fn early(site: &Site, server: &str) -> String {
    format!(
        "const {{ Client, load }} = await import({:?});
         const say = (...what) => console.log(...what);
         const outcome = (promise) => promise.then(() => 'connected', ({{ name, code }}) => `${{name}} ${{code}}`);
         const patient = new Client({server:?}, {{ requestTimeout: Infinity }});
         patient.connect();
         const reply = patient.request('echo', 'early');
         const aborted = new Client({server:?});
         const controller = new AbortController();
         const connecting = outcome(aborted.connect({{ signal: controller.signal }}));
         say(patient.status, aborted.status);
         controller.abort(new RangeError('because'));
         say(await connecting, aborted.status);
         // However soon after the loading they are closed.
         const closed = [];
         for (let later = 0; later < 12; later += 1) {{
           const client = new Client({server:?});
           closed.push(outcome(client.connect()));
           load().then(async () => {{
             for (let step = 0; step < later; step += 1) await null;
             client.close();
           }});
         }}
         say([...new Set(await Promise.all(closed))].join());
         say(await reply, aborted.status);
         patient.close();",
        format!("file://{}", site.module().display())
    )
}

const SAID_EARLY: &str =
    "connecting connecting\nRangeError undefined idle\nConnectionError closed\nearly idle\n";

const SAID: &str = "wwr.1 from \u{1f98a}\nAda\na signal\ntrue\nnull RemoteError UNKNOWN_NAME\n";

/// Runs a program. `None` without the command.
fn run(command: &mut Command, program: &str) -> Option<std::process::Output> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().ok()?;
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

fn check(command: impl Fn() -> Command, host: &str) {
    let Some(site) = Site::start() else { return };
    let has_sockets = "if (typeof WebSocket === 'undefined') throw new Error('no WebSocket')";
    match run(&mut command(), has_sockets) {
        Some(output) if output.status.success() => {}
        Some(_) => return println!("skipped: this {host} has no WebSocket"),
        None => return println!("skipped: no {host}"),
    }
    let server = Server::start(&[]);
    for (program, said) in
        [(program(&site, &server.url()), SAID), (early(&site, &server.url()), SAID_EARLY)]
    {
        let ran = run(&mut command(), &program).unwrap();
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), said, "{errors}");
    }
}

#[test]
fn it_works_in_node() {
    // Since version 22 it needs no flag.
    let node = || {
        let mut node = Command::new("node");
        node.args(["--experimental-websocket", "--input-type=module", "-"]);
        node
    };
    check(node, "Node");
}

#[test]
fn it_works_in_deno() {
    let deno = || {
        let named = env::var_os(DENO).filter(|program| !program.is_empty());
        let mut deno = Command::new(named.unwrap_or_else(|| "deno".into()));
        // It asks nobody for a newer version.
        deno.env("DENO_NO_UPDATE_CHECK", "1").args([
            "run",
            "--quiet",
            "--allow-net",
            "--allow-read",
            "-",
        ]);
        deno
    };
    check(deno, "Deno");
}
