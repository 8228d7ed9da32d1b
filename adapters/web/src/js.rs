//! What the JavaScript module is made of. It passes on and decides nothing; `js/index.js` gives it the face that
//! JavaScript developers see.

use std::rc::Rc;
use std::time::Duration;

use wasm_bindgen::prelude::*;
use wwr::client::{
    AnswerError, Config, DisconnectReason, Outcome, Protocol, Question, QuestionId, RequestError,
    RequestId, Status,
};
use wwr::{CloseFrame, Encoding, Name, Payload, Session, SessionKey, UnixTime};

use crate::builder::Builder;
use crate::error::{ConnectError, Error, StartError};
use crate::event::Event;
use crate::host::{Handlers, Host};
use crate::store::{KeyStore, WebStorage};

#[wasm_bindgen]
extern "C" {
    /// The settings, as the application wrote them.
    pub type Options;
    #[wasm_bindgen(method, getter)]
    fn protocol(this: &Options) -> Option<String>;
    #[wasm_bindgen(method, getter, js_name = subProtocol)]
    fn sub_protocol(this: &Options) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn reconnect(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter, js_name = skipPreflight)]
    fn skip_preflight(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter)]
    fn wwr1(this: &Options) -> Option<bool>;
    #[wasm_bindgen(method, getter, js_name = requestTimeout)]
    fn request_timeout(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = connectTimeout)]
    fn connect_timeout(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = preflightTimeout)]
    fn preflight_timeout(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = initialBackoff)]
    fn initial_backoff(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = maxBackoff)]
    fn max_backoff(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = maxPendingRequests)]
    fn max_pending_requests(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = maxQueuedBytes)]
    fn max_queued_bytes(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = maxMessageSize)]
    fn max_message_size(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = finalCloseCodes)]
    fn final_close_codes(this: &Options) -> Option<Vec<u16>>;
    /// `"memory"`, `"local"`, `"session"` or a store.
    #[wasm_bindgen(method, getter)]
    fn session(this: &Options) -> JsValue;
    /// Whether the application answers questions.
    #[wasm_bindgen(method, getter)]
    fn answers(this: &Options) -> bool;

    /// A store of the application for the key of the session.
    #[wasm_bindgen(extends = js_sys::Object)]
    pub type Store;
    #[wasm_bindgen(method, catch)]
    fn load(this: &Store) -> Result<Option<String>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn save(this: &Store, key: Option<&str>) -> Result<(), JsValue>;

    /// What is told to the module. Bytes are only lent. None of these throws.
    pub type Sink;
    #[wasm_bindgen(method, js_name = replyText)]
    fn reply_text(this: &Sink, id: f64, text: &str);
    #[wasm_bindgen(method, js_name = replyBytes)]
    fn reply_bytes(this: &Sink, id: f64, encoding: u8, bytes: &[u8]);
    #[wasm_bindgen(method)]
    fn failed(
        this: &Sink,
        id: f64,
        name: &str,
        message: &str,
        code: Option<&str>,
        repeatable: bool,
    );
    #[wasm_bindgen(method, js_name = signalText)]
    fn signal_text(this: &Sink, name: &str, text: &str);
    #[wasm_bindgen(method, js_name = signalBytes)]
    fn signal_bytes(this: &Sink, name: &str, encoding: u8, bytes: &[u8]);
    #[wasm_bindgen(method, js_name = questionText)]
    fn question_text(this: &Sink, id: f64, name: &str, text: &str);
    #[wasm_bindgen(method, js_name = questionBytes)]
    fn question_bytes(this: &Sink, id: f64, name: &str, encoding: u8, bytes: &[u8]);
    #[wasm_bindgen(method, js_name = questionCancelled)]
    fn question_cancelled(this: &Sink, id: f64);
    #[wasm_bindgen(method)]
    fn connected(this: &Sink);
    #[wasm_bindgen(method)]
    fn disconnected(
        this: &Sink,
        name: &str,
        code: Option<u16>,
        reason: Option<&str>,
        retry_in: Option<f64>,
    );
    #[wasm_bindgen(method, js_name = connectFailed)]
    fn connect_failed(this: &Sink, name: &str, message: &str, retry_in: Option<f64>);
    #[wasm_bindgen(method)]
    fn session(
        this: &Sink,
        how: &str,
        key: &str,
        created: f64,
        last_lookup: f64,
        info: Option<&str>,
    );
    #[wasm_bindgen(method, js_name = noSession)]
    fn no_session(this: &Sink, how: &str, loss: Option<&str>);
}

/// The numbers of encodings, which the module has as well.
const BINARY: u8 = 1;
const UTF8: u8 = 2;
const UTF16: u8 = 3;

const fn number(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Binary => BINARY,
        Encoding::Utf8 => UTF8,
        Encoding::Utf16 => UTF16,
    }
}

/// Numbers of requests that JavaScript holds exactly: 2^53 are not reached.
const fn exact(number: u64) -> f64 {
    number as f64
}

/// A duration in milliseconds; what is no positive number counts as zero, which no setting allows.
fn duration(milliseconds: f64) -> Duration {
    Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or(if milliseconds > 0.0 {
        Duration::MAX
    } else {
        Duration::ZERO
    })
}

fn milliseconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64() * 1e3)
}

/// What is thrown, for the module to turn into an error.
fn thrown(name: &str, message: &str) -> JsValue {
    let object = js_sys::Object::new();
    for (key, value) in [("code", name), ("message", message)] {
        let _ = js_sys::Reflect::set(&object, &key.into(), &value.into());
    }
    object.into()
}

impl From<StartError> for JsValue {
    fn from(error: StartError) -> Self {
        thrown(error.name(), &error.to_string())
    }
}

impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        thrown(error.name(), &error.to_string())
    }
}

impl KeyStore for Store {
    fn load(&self) -> Option<String> {
        Self::load(self).ok().flatten().filter(|key| !key.is_empty())
    }

    fn save(&self, key: Option<&str>) {
        // A page works without.
        let _ = Self::save(self, key);
    }
}

/// The handler of the application. Nobody can stop a promise: it is told that nobody waits for it, and counts until it
/// is settled.
struct Promises(Rc<Sink>);

impl Handlers for Promises {
    fn start(&self, _: &Rc<Host>, question: Question) {
        let (id, content) = (exact(question.id.as_u64()), question.content);
        let name = String::from_utf8_lossy(content.name()).into_owned();
        match (content.encoding(), content.text()) {
            (Encoding::Utf8, Ok(text)) => self.0.question_text(id, &name, &text),
            (encoding, _) => {
                self.0.question_bytes(id, &name, number(encoding), content.payload());
            }
        }
    }

    fn cancel(&self, id: QuestionId) -> bool {
        self.0.question_cancelled(exact(id.as_u64()));
        false
    }
}

/// A client, for the module alone. The module numbers its calls.
#[wasm_bindgen]
pub struct Core {
    host: Rc<Host>,
    sink: Rc<Sink>,
}

#[wasm_bindgen]
impl Core {
    /// Creates a client that does not connect yet.
    #[wasm_bindgen(constructor)]
    pub fn new(url: String, options: &Options, sink: Sink) -> Result<Self, JsValue> {
        let sink = Rc::new(sink);
        let mut wrong = None;
        let mut builder = Builder::new(url).configure(|config| wrong = configure(config, options));
        let session = options.session();
        builder = match session.as_string().as_deref() {
            Some("local") => builder.keep_session_in(WebStorage::Local),
            Some("session") => builder.keep_session_in(WebStorage::Session),
            None if session.is_object() => builder.keep_session(session.unchecked_into::<Store>()),
            Some("memory") | None => builder,
            Some(_) => {
                wrong = Some("session");
                builder
            }
        };
        if let Some(setting) = wrong {
            return Err(thrown("invalid-setting", &["wrong value of ", setting].concat()));
        }
        if options.answers() {
            builder = builder.handlers(Promises(sink.clone()));
        }
        let listener = sink.clone();
        let host = builder.listener(move |event| tell(&listener, event)).host(|config, seed| {
            wwr::client::Client::with_reader(config, seed, crate::json::session)
        })?;
        Ok(Self { host, sink })
    }

    /// Connects.
    pub fn connect(&self, call: f64) {
        let sink = self.sink.clone();
        self.host.connect(Box::new(move |result: Result<(), ConnectError>| match result {
            Ok(()) => sink.reply_text(call, ""),
            Err(error) => sink.failed(call, error.name(), &error.to_string(), None, true),
        }));
    }

    /// Closes the connection.
    pub fn close(&self) {
        self.host.close();
    }

    /// Whether it is or wants to be connected.
    #[wasm_bindgen(getter)]
    pub fn active(&self) -> bool {
        self.host.is_active()
    }

    /// Makes a request whose payload is UTF-8. Returns its number, to cancel it.
    #[wasm_bindgen(js_name = requestText)]
    pub fn request_text(
        &self,
        call: f64,
        name: String,
        text: String,
        timeout: Option<f64>,
    ) -> Result<f64, JsValue> {
        self.request(call, name, Payload::utf8(text), timeout)
    }

    /// Makes a request with any payload. Returns its number, to cancel it.
    #[wasm_bindgen(js_name = requestBytes)]
    pub fn request_bytes(
        &self,
        call: f64,
        name: String,
        encoding: u8,
        bytes: Vec<u8>,
        timeout: Option<f64>,
    ) -> Result<f64, JsValue> {
        self.request(call, name, payload(encoding, bytes)?, timeout)
    }

    /// Cancels a request.
    pub fn cancel(&self, number: f64) {
        self.host.cancel(RequestId::from_u64(number as u64));
    }

    /// Sends a signal whose payload is UTF-8.
    #[wasm_bindgen(js_name = signalText)]
    pub fn signal_text(&self, name: String, text: String) -> Result<(), JsValue> {
        Ok(self.host.signal(&checked(name)?, &Payload::utf8(text))?)
    }

    /// Sends a signal with any payload.
    #[wasm_bindgen(js_name = signalBytes)]
    pub fn signal_bytes(&self, name: String, encoding: u8, bytes: Vec<u8>) -> Result<(), JsValue> {
        Ok(self.host.signal(&checked(name)?, &payload(encoding, bytes)?)?)
    }

    /// Answers a question.
    pub fn answer(&self, question: f64, encoding: u8, bytes: Vec<u8>) -> Result<(), JsValue> {
        self.host.answer(question as u64, Ok(payload(encoding, bytes)?));
        Ok(())
    }

    /// Answers a question with an error. One without a code is internal.
    pub fn refuse(&self, question: f64, code: String, message: String) {
        self.host.answer(question as u64, Err(AnswerError::failed(code, message)));
    }

    /// Restores a session.
    #[wasm_bindgen(js_name = restoreSession)]
    pub fn restore_session(
        &self,
        call: f64,
        key: &str,
        timeout: Option<f64>,
    ) -> Result<f64, JsValue> {
        let key = SessionKey::new(key).map_err(|error| thrown("no-key", &error.to_string()))?;
        Ok(begun(self.host.restore_session(key, timeout.map(duration), self.done(call)))?)
    }

    /// Closes the session.
    #[wasm_bindgen(js_name = closeSession)]
    pub fn close_session(&self, call: f64, timeout: Option<f64>) -> Result<f64, JsValue> {
        Ok(begun(self.host.close_session(timeout.map(duration), self.done(call)))?)
    }

    /// The state of the connection.
    #[wasm_bindgen(getter)]
    pub fn status(&self) -> String {
        let status = match self.host.read(wwr::client::Client::status) {
            Status::Idle => "idle",
            Status::Connecting => "connecting",
            Status::Connected => "connected",
            Status::Waiting => "waiting",
            Status::Closed => "closed",
        };
        status.into()
    }

    /// What the server speaks.
    #[wasm_bindgen(getter)]
    pub fn protocol(&self) -> String {
        self.host.read(|client| client.dialect().to_string())
    }
}

impl Core {
    fn request(
        &self,
        call: f64,
        name: String,
        payload: Payload,
        timeout: Option<f64>,
    ) -> Result<f64, JsValue> {
        let (name, timeout) = (checked(name)?, timeout.map(duration));
        Ok(begun(self.host.request(name, payload, timeout, self.done(call)))?)
    }

    fn done(&self, call: f64) -> Box<dyn FnOnce(Outcome)> {
        let sink = self.sink.clone();
        Box::new(move |outcome| match outcome {
            Ok(payload) => match (payload.encoding(), core::str::from_utf8(payload.as_bytes())) {
                (Encoding::Utf8, Ok(text)) => sink.reply_text(call, text),
                (encoding, _) => sink.reply_bytes(call, number(encoding), payload.as_bytes()),
            },
            Err(error) => {
                let repeatable = error.is_repeatable();
                match &error {
                    RequestError::Failed(reply) => {
                        let (code, message) = (reply.code(), reply.message());
                        sink.failed(call, error.name(), &message, Some(&code), repeatable);
                    }
                    _ => sink.failed(call, error.name(), &error.to_string(), None, repeatable),
                }
            }
        })
    }
}

fn begun(begun: Result<RequestId, Error>) -> Result<f64, Error> {
    begun.map(|id| exact(id.as_u64()))
}

fn checked(name: String) -> Result<Name, Error> {
    Ok(Name::new(name)?)
}

fn payload(encoding: u8, bytes: Vec<u8>) -> Result<Payload, JsValue> {
    let encoding = match encoding {
        UTF16 => Encoding::Utf16,
        UTF8 => Encoding::Utf8,
        _ => Encoding::Binary,
    };
    Payload::new(encoding, bytes).map_err(|error| thrown("odd-utf-16", &error.to_string()))
}

fn tell(sink: &Sink, event: &Event) {
    match event {
        Event::Signal(content) => {
            let name = String::from_utf8_lossy(content.name());
            match (content.encoding(), core::str::from_utf8(content.payload())) {
                (Encoding::Utf8, Ok(text)) => sink.signal_text(&name, text),
                (encoding, _) => sink.signal_bytes(&name, number(encoding), content.payload()),
            }
        }
        Event::Connected => sink.connected(),
        Event::Disconnected { reason, retry_in } => {
            let frame = match reason {
                DisconnectReason::ClosedByServer(frame) => Some(frame),
                _ => None,
            };
            let (code, text) = (frame.map(CloseFrame::code), frame.map(CloseFrame::reason));
            sink.disconnected(reason.name(), code, text, milliseconds(*retry_in));
        }
        Event::ConnectFailed { error, retry_in } => {
            sink.connect_failed(error.name(), &error.to_string(), milliseconds(*retry_in));
        }
        Event::SessionCreated(session) => tell_session(sink, "created", session),
        Event::SessionUpdated(session) => tell_session(sink, "updated", session),
        Event::SessionRestored(session) => tell_session(sink, "restored", session),
        Event::SessionClosed => sink.no_session("closed", None),
        Event::SessionLost(loss) => sink.no_session("lost", Some(loss.name())),
        // The module has bounds of its own.
        Event::Missed(_) => {}
    }
}

fn tell_session(sink: &Sink, how: &str, session: &Session) {
    let milliseconds = |time: UnixTime| {
        let fraction = time.saturating_since(UnixTime::from_seconds(time.seconds()));
        time.seconds() as f64 * 1e3 + f64::from(fraction.subsec_millis())
    };
    let (created, last_lookup) = (milliseconds(session.created), milliseconds(session.last_lookup));
    sink.session(how, session.key.as_str(), created, last_lookup, session.info.unread_json());
}

/// Changes what the application has set. Returns the name of what is wrong.
fn configure(config: &mut Config, options: &Options) -> Option<&'static str> {
    if let Some(protocol) = options.protocol() {
        config.protocol = match protocol.as_str() {
            "auto" => Protocol::Auto,
            "1.4" => Protocol::V1_4,
            "1.5" => Protocol::V1_5,
            "2.0" => Protocol::V2_0,
            _ => return Some("protocol"),
        };
    }
    if let Some(name) = options.sub_protocol() {
        config.sub_protocol = Some(name.into());
    }
    if let Some(codes) = options.final_close_codes() {
        config.final_close_codes = codes;
    }
    for (setting, value) in [
        (&mut config.reconnect, options.reconnect()),
        (&mut config.skip_preflight, options.skip_preflight()),
        (&mut config.wwr1, options.wwr1()),
    ] {
        *setting = value.unwrap_or(*setting);
    }
    for (setting, value) in [
        (&mut config.request_timeout, options.request_timeout()),
        (&mut config.dial_timeout, options.connect_timeout()),
        (&mut config.probe_timeout, options.preflight_timeout()),
        (&mut config.initial_backoff, options.initial_backoff()),
        (&mut config.max_backoff, options.max_backoff()),
    ] {
        *setting = value.map_or(*setting, duration);
    }
    // Numbers saturate; what is no number is zero.
    for (setting, value) in [
        (&mut config.max_pending_requests, options.max_pending_requests()),
        (&mut config.max_queued_bytes, options.max_queued_bytes()),
    ] {
        *setting = value.map_or(*setting, |value| value as usize);
    }
    if let Some(size) = options.max_message_size() {
        config.max_message_size = size as u32;
    }
    config.max_open_questions =
        if options.answers() { Config::default().max_open_questions } else { 0 };
    None
}
