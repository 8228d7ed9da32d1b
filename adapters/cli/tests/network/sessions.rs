//! Sessions across processes.

use crate::support::{Server, wwr};

#[test]
fn sessions_in_files_survive_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = directory.path().join("sessions");
    let sessions = sessions.to_str().unwrap();
    let arguments = ["--sessions", sessions, "--durable", "--expire-after", "30days"];
    let server = Server::start(&arguments);
    let key = server.reply(&["login", r#"{"user":"ada"}"#]);
    drop(server);
    let server = Server::start(&arguments);
    let session = server.reply(&["--session", &key, "whoami"]);
    assert!(session.contains(&key) && session.contains("ada"), "{session}");
    let from_environment =
        wwr().args(["request", &server.url(), "whoami"]).env("WWR_SESSION", &key).output().unwrap();
    assert!(from_environment.status.success());
}

#[test]
fn sessions_can_be_off_and_limited() {
    let old = Server::start(&["--sessions", "off", "--no-wwr1"]);
    let off = Server::start(&["--sessions", "off"]);
    // Clients that are known to speak 2.0 are told of an internal error instead.
    assert_eq!(off.error(&["--protocol", "1.4", "login"]), "sessions-disabled");
    assert_eq!(old.error(&["login"]), "internal-error");
    assert_eq!(off.error(&["login"]), "sessions-disabled");
    let key = "k".repeat(64);
    assert_eq!(off.error(&["--session", &key, "whoami"]), "sessions-disabled");

    let limited = Server::start(&["--max-session-connections", "1"]);
    let key = limited.reply(&["login"]);
    let url = limited.url();
    let mut holder = crate::support::Running::start(&["listen", "--session", &key, &url]);
    holder.line_with("session restored");
    assert_eq!(limited.error(&["--session", &key, "whoami"]), "max-session-connections");
}
