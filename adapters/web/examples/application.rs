//! An application in Rust that runs in a page. `.ci/web` builds it beside the module; a page loads it and calls `run`:
//!
//! ```js
//! import init, { run } from "./application.js";
//! await init();
//! console.log(await run("ws://localhost:7777/"));
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wwr_web::{Client, Error, Event, WebStorage};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Greeting {
    text: String,
    times: u32,
}

/// Talks with `wwr serve`, and returns what it has seen, line by line.
#[wasm_bindgen]
pub async fn run(url: String) -> Result<String, JsValue> {
    talk(url).await.map_err(|error| JsValue::from_str(&error.to_string()))
}

async fn talk(url: String) -> Result<String, Box<dyn std::error::Error>> {
    let client = Client::builder(url)
        .keep_session_in(WebStorage::Session)
        .configure(|config| config.request_timeout = Duration::from_secs(20))
        .build()?;
    let mut events = client.events();
    let mut seen = Vec::new();

    // What is asked before there is a connection waits for it.
    let early = client.connect();
    let reply = client.request("echo", "early").await?;
    early.await?;
    seen.push(format!("{}: {}", client.dialect(), reply.text()?));

    let greeting = Greeting { text: "hello \u{1f98a}".into(), times: 3 };
    let back: Greeting = client.call("echo", &greeting).await?;
    seen.push(format!("the same: {}", back == greeting));

    let error = client.request("error", "TAKEN choose another").await.unwrap_err();
    seen.push(format!("{}: {:?}", error.name(), error.code()));
    let late = client.request_within("sleep", "500", Duration::from_millis(20)).await;
    seen.push(late.unwrap_err().name().into());
    let refused = client.signal("na\u{ef}ve", "x").unwrap_err();
    seen.push(refused.name().into());
    // A future that is dropped cancels its request.
    drop(client.request("echo", "never mind"));

    client.request("login", r#"{"user":"Ada"}"#).await?;
    client.request("signal-me", "a signal").await?;
    client.close_session().await?;
    client.close();
    match client.request("echo", "x").await {
        Err(Error::Misuse(misuse)) => seen.push(misuse.name().into()),
        other => seen.push(format!("{other:?}")),
    }
    drop(client);

    while let Some(event) = events.next().await {
        seen.push(match event {
            Event::Signal(signal) => format!("{:?} {:?}", signal.name_str(), signal.text()?),
            Event::SessionCreated(session) => format!("created {:?}", session.info.value("user")),
            Event::Disconnected { reason, .. } => reason.name().into(),
            other => format!("{other:?}"),
        });
    }
    Ok(seen.join("\n"))
}
