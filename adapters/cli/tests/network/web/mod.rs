//! The JavaScript module of `adapters/web`, in a real browser against the command.
//!
//! It takes minutes to build, so that is left to `.ci/run web`, which says in `WWR_TEST_WEB` where it is.

mod asking;
mod by_hand;
mod errors;
mod figures;
mod lifecycle;
mod other_hosts;
mod requests;
mod sessions;
mod site;
mod surroundings;

use serde_json::Value;

use crate::browser::Browser;
use site::Site;

/// A browser with a page that has loaded the module. `None` if either is missing; then says so.
struct Page {
    site: Site,
    browser: Browser,
}

impl Page {
    fn open() -> Option<Self> {
        let site = Site::start()?;
        let browser = Browser::start_any()?;
        let page = Self { site, browser };
        page.visit();
        Some(page)
    }

    /// Goes to the page, in the present tab.
    fn visit(&self) {
        self.browser.open(&self.site.url());
        self.loaded();
    }

    fn loaded(&self) {
        self.browser.until("window.wwr || window.failed");
        assert_eq!(self.browser.run("return window.failed"), Value::Null);
    }

    fn reload(&self) {
        self.browser.reload();
        self.loaded();
    }

    /// Runs the body of an async function, in which `wwr` is the module. What it throws fails the test.
    fn run(&self, body: &str) -> Value {
        let value = self.browser.run_async(body);
        assert!(value.get("threw").is_none(), "{body}: {value:#}");
        value
    }

    /// Runs the body of an async function that has to throw. Returns its name and code, as in "TimeoutError timed-out".
    fn fails(&self, body: &str) -> String {
        let value = self.browser.run_async(body);
        let threw = value.get("threw").unwrap_or_else(|| panic!("{body}: {value:#}"));
        format!(
            "{} {}",
            threw["name"].as_str().unwrap_or_default(),
            threw["code"].as_str().unwrap_or_default()
        )
    }

    /// Creates `window.client` for this server and connects it.
    fn connect(&self, url: &str) {
        self.run(&format!("window.client = await wwr.connect({url:?});"));
    }
}
