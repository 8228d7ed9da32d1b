//! The preflight, by `fetch`.

use std::time::Duration;

use js_sys::{Date, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit, Response,
};
use wwr::preflight::{self, Promise, Verdict};

use crate::browser::fetch;
use crate::json::Members;

/// A preflight that is under way. It is given up when this is dropped.
pub(crate) struct Probe(AbortController);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came back.
pub(crate) struct Probed {
    pub(crate) verdict: Verdict,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
    /// What it promises of an accept-conf.
    pub(crate) promise: Option<Promise>,
}

/// Sends the preflight to this URL. `None` if the browser cannot even try.
pub(crate) fn probe(url: &str) -> Option<(Probe, impl Future<Output = Option<Probed>> + use<>)> {
    let controller = AbortController::new().ok()?;
    let request = RequestInit::new();
    request.set_method(preflight::METHOD);
    request.set_cache(RequestCache::NoStore);
    request.set_signal(Some(&controller.signal()));
    let answer = JsFuture::from(fetch(url, &request));
    Some((Probe(controller), async move { read(answer.await.ok()?.unchecked_into()).await }))
}

async fn read(response: Response) -> Option<Probed> {
    let headers = response.headers();
    let promise = headers.get(preflight::ACCEPT_CONF).ok().flatten();
    let promise = promise.map(|value| Promise::read(value.as_bytes()));
    let status = response.status();
    let retry_after = retry_after(&headers);
    let body = body(&response).await?;
    let (mut version, mut read_timeout) = (None, None);
    let members = if body.len() > preflight::MAX_BODY { None } else { Members::parse(&body) };
    for (name, value) in members.into_iter().flatten() {
        if name.eq_ignore_ascii_case("protocol-version") {
            version = value.as_string().or(version);
        } else if name.eq_ignore_ascii_case("read-timeout") {
            let seconds =
                value.as_f64().filter(|seconds| *seconds >= 0.0 && seconds.fract() == 0.0);
            read_timeout = seconds.map(|seconds| seconds as u64);
        }
    }
    let verdict = Verdict::from_members(status, version.as_deref(), read_timeout);
    Some(Probed { verdict, retry_after, promise })
}

/// Reads the body, up to what is evaluated of it and one byte more.
async fn body(response: &Response) -> Option<Vec<u8>> {
    let Some(stream) = response.body() else { return Some(Vec::new()) };
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let mut body = Vec::new();
    while body.len() <= preflight::MAX_BODY {
        let part = JsFuture::from(reader.read()).await.ok()?;
        match Reflect::get(&part, &JsValue::from_str("value")).ok()?.dyn_into::<Uint8Array>() {
            Ok(bytes) => body.extend(bytes.to_vec()),
            // There is no more.
            Err(_) => return Some(body),
        }
    }
    // Nobody waits for that.
    let _ = reader.cancel();
    body.truncate(preflight::MAX_BODY + 1);
    Some(body)
}

/// Returns how long the server wants the client to wait before it asks again (RFC 9110 §10.2.3), if it says so
/// and the browser shows it.
fn retry_after(headers: &Headers) -> Option<Duration> {
    let text = headers.get("Retry-After").ok()??;
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is longer than any client waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    // Counted from the date of the answer, because the two clocks may differ.
    let date = headers.get("Date").ok().flatten().map_or(f64::NAN, |date| Date::parse(&date));
    let answered = if date.is_nan() { Date::now() } else { date };
    let wait = Date::parse(text) - answered;
    (!wait.is_nan()).then(|| Duration::from_millis(wait.max(0.0) as u64))
}
