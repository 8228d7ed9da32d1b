//! A real browser, driven through WebDriver.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::SAFETY;

pub(crate) const TAB: char = '\u{e004}';
pub(crate) const ENTER: char = '\u{e007}';
pub(crate) const ESCAPE: char = '\u{e00c}';
pub(crate) const DOWN: char = '\u{e015}';
pub(crate) const RIGHT: char = '\u{e014}';

/// Names the program of Firefox, where tests that run in any browser are to run in that.
const FIREFOX: &str = "WWR_TEST_FIREFOX";

/// What Chromium is started with. It asks nobody for anything by itself.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// How often a driver is started that does not come up.
const STARTS: usize = 5;

/// How often a page is asked whether something has happened.
const EVERY: Duration = Duration::from_millis(50);

/// Headless Chromium or Firefox with one page. It ends when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    profile: TempDir,
    is_chromium: bool,
}

impl Browser {
    /// Starts Chromium. `None` if there is none here; then says so.
    pub(crate) fn start() -> Option<Self> {
        let browser = Self::drive(Command::new("chromedriver").arg("--port=0"), |line| {
            line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
        })?;
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", browser.profile.path().display()));
        let options = json!({ "args": flags });
        let logs = json!({ "browser": "ALL", "performance": "ALL" });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": logs });
        let mut browser = browser.wanting(wanted);
        browser.is_chromium = true;
        Some(browser)
    }

    /// Starts Firefox if a variable names it, and Chromium otherwise. `None` if it is not here; then says so.
    pub(crate) fn start_any() -> Option<Self> {
        let Some(program) = env::var_os(FIREFOX).filter(|program| !program.is_empty()) else {
            return Self::start();
        };
        // Both ports are free ones.
        let arguments = ["--port=0", "--websocket-port=0"];
        let browser = Self::drive(Command::new("geckodriver").args(arguments), |line| {
            line.split_once("Listening on 127.0.0.1:")?.1.parse().ok()
        })?;
        let profile = browser.profile.path().display().to_string();
        let arguments = ["-headless", "-profile", &profile];
        // It would pause by itself before it dials a server again.
        let preferences = json!({ "network.websocket.delay-failed-reconnects": false });
        let options =
            json!({ "binary": program.to_str(), "args": arguments, "prefs": preferences });
        Some(browser.wanting(json!({ "moz:firefoxOptions": options })))
    }

    /// Starts a driver. It writes on which port it listens. One that ends without is started again: it takes a free port
    /// of one address family, and ends if that is taken in the other.
    fn drive(command: &mut Command, port: impl Fn(&str) -> Option<u16>) -> Option<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut said = Vec::new();
        for _ in 0..STARTS {
            let mut driver = match command.spawn() {
                Ok(driver) => driver,
                Err(error) => {
                    println!("skipped: no browser: {name}: {error}");
                    return None;
                }
            };
            let output = BufReader::new(driver.stdout.take().unwrap());
            let mut lines = output.lines().map(Result::unwrap);
            let found = lines.find_map(|line| {
                let port = port(&line);
                said.push(line);
                port
            });
            if let Some(port) = found {
                // It would stop if nobody read what it prints.
                thread::spawn(move || lines.for_each(drop));
                return Some(Self {
                    driver,
                    address: SocketAddr::from(([127, 0, 0, 1], port)),
                    session: String::new(),
                    profile: tempfile::tempdir().unwrap(),
                    is_chromium: false,
                });
            }
            driver.wait().unwrap();
        }
        panic!("{name} does not start: {said:?}");
    }

    /// Starts the browser, with what all of them are to be and what this kind is to be.
    fn wanting(mut self, mut wanted: Value) -> Self {
        // Certificates of tests are nobody's.
        wanted["acceptInsecureCerts"] = json!(true);
        wanted["timeouts"] = json!({ "script": SAFETY.as_millis() as u64 });
        let body = json!({ "capabilities": { "alwaysMatch": wanted } });
        let answer = self.call("POST", "/session", Some(&body));
        self.session = answer["sessionId"].as_str().unwrap().to_owned();
        self
    }

    /// Whether this has what only Chromium has; says so if not.
    pub(crate) fn is_chromium(&self) -> bool {
        if !self.is_chromium {
            println!("skipped: this test needs the DevTools of Chromium");
        }
        self.is_chromium
    }

    /// Sends a command of WebDriver, and returns its result.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let body = body.map_or_else(String::new, Value::to_string);
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SAFETY)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{method} {path}: {value:#}");
        value
    }

    fn command(&self, name: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}/{name}", self.session), Some(body))
    }

    /// A command of the DevTools protocol.
    fn devtools(&self, name: &str, parameters: Value) {
        self.command("goog/cdp/execute", &json!({ "cmd": name, "params": parameters }));
    }

    /// Frees what nobody holds. Chromium only.
    pub(crate) fn collect_garbage(&self) {
        self.devtools("HeapProfiler.collectGarbage", json!({}));
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Runs a script in the page, and returns what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs the body of an async function in the page, and returns what it returns, or `{ threw }` with name, code,
    /// message and flags of what it throws.
    pub(crate) fn run_async(&self, body: &str) -> Value {
        let mut call = format!("(async () => {{ {body} }})()");
        if !self.is_chromium {
            // Scripts of its driver have globals and classes of their own.
            call = format!("window.eval({})", json!(call));
        }
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const describe = (error) => ({{ threw: {{ name: error.name, code: error.code,
                 message: error.message, repeatable: error.repeatable }} }});
             {call}.then((value) => done(value ?? null), (error) => done(describe(error)));"
        );
        self.command("execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Loads the page again.
    pub(crate) fn reload(&self) {
        self.command("refresh", &json!({}));
    }

    /// Goes back to the page before.
    pub(crate) fn back(&self) {
        self.command("back", &json!({}));
    }

    /// Opens another tab and goes there. Returns it.
    pub(crate) fn new_tab(&self) -> String {
        let opened = self.command("window/new", &json!({ "type": "tab" }));
        let tab = opened["handle"].as_str().unwrap().to_owned();
        self.go_to(&tab);
        tab
    }

    /// The tab in which commands take place.
    pub(crate) fn tab(&self) -> String {
        let tab = self.call("GET", &format!("/session/{}/window", self.session), None);
        tab.as_str().unwrap().to_owned()
    }

    pub(crate) fn go_to(&self, tab: &str) {
        self.command("window", &json!({ "handle": tab }));
    }

    /// Waits until an expression in the page is true.
    pub(crate) fn until(&self, expression: &str) {
        let deadline = Instant::now() + SAFETY;
        while self.run(&format!("return Boolean({expression})")) != json!(true) {
            if Instant::now() > deadline {
                panic!("never true: {expression}; the page shows: {}", self.text("body"));
            }
            thread::sleep(EVERY);
        }
    }

    /// The text of an element, as it is shown.
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.run(&format!(
            "const one = document.querySelector({selector:?}); \
             return one?.checkVisibility() ? one.innerText : ''"
        ));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until an element shows a text.
    pub(crate) fn until_shown(&self, selector: &str, text: &str) {
        let text = json!(text);
        self.until(&format!(
            "[document.querySelector({selector:?})].some(\
             (one) => one?.checkVisibility() && one.innerText.includes({text}))"
        ));
    }

    /// Presses keys, one after the other.
    pub(crate) fn press(&self, keys: &[char]) {
        let down_and_up = keys.iter().flat_map(|key| {
            let key = key.to_string();
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        });
        let actions: Vec<Value> = down_and_up.collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("actions", &json!({ "actions": [keyboard] }));
    }

    /// Presses a key until an element has the focus.
    pub(crate) fn press_until_focused(&self, key: char, id: &str) {
        for _ in 0..100 {
            if self.focused() == id {
                return;
            }
            self.press(&[key]);
        }
        panic!("{id} is not reached; the focus is on {}", self.focused());
    }

    /// The identifier of the element that has the focus.
    pub(crate) fn focused(&self) -> String {
        self.run("return document.activeElement?.id ?? ''").as_str().unwrap().to_owned()
    }

    /// Gives the page this size, and light or dark colours.
    pub(crate) fn show_as(&self, width: u32, height: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
        let colours = json!({ "name": "prefers-color-scheme", "value": scheme });
        // A picture shows no transition half done.
        let motion = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [colours, motion] }));
    }

    /// The page is no wider than the screen.
    pub(crate) fn fits(&self) {
        let of_page = "document.documentElement";
        let widths = self.run(&format!("return [{of_page}.scrollWidth, {of_page}.clientWidth]"));
        assert_eq!(widths[0], widths[1], "the page scrolls sideways");
    }

    /// Takes a picture, if the variable `WWR_SCREENSHOTS` names a directory for it.
    pub(crate) fn picture(&self, name: &str) {
        if let Some(directory) = env::var_os("WWR_SCREENSHOTS") {
            let taken = self.call("GET", &format!("/session/{}/screenshot", self.session), None);
            let picture = BASE64.decode(taken.as_str().unwrap().as_bytes()).unwrap();
            fs::write(std::path::Path::new(&directory).join(name), picture).unwrap();
        }
    }

    /// What the page has written to the console, errors of loading and of its policy included.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The addresses of all requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({ "type": "performance" }));
        let events = entries.as_array().unwrap().iter().map(|entry| {
            serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()
        });
        let sent = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        let url =
            |event: Value| event["message"]["params"]["request"]["url"].as_str().map(str::to_owned);
        sent.filter_map(url).collect()
    }
}

impl Browser {
    /// Ends the browser, also if a test has failed.
    fn quit(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(SAFETY))?;
        let path = format!("/session/{}", self.session);
        write!(
            stream,
            "DELETE {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        )?;
        // The answer comes when it has ended.
        stream.read_exact(&mut [0])
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Otherwise Firefox goes on without its driver.
        if !self.session.is_empty() {
            let _ = self.quit();
        }
        // An error means that it has ended.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
