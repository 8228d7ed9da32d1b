//! What a server of this project does besides answering: it asks, and changes sessions.

use std::num::NonZeroU16;
use std::sync::mpsc;
use std::thread;

use serde_json::json;
use smol::channel::{Receiver, Sender};
use wwr::server::RequestError;
use wwr::{Content, Payload, SessionInfo};
use wwr_smol::server::{AskError, Connection, Handler, Origins, Server, SessionEdit};

use super::Page;

struct Asking {
    /// What stops a question.
    stops: (Sender<()>, Receiver<()>),
}

impl Asking {
    /// Asks until somebody stops that. Returns nothing then.
    async fn ask(&self, connection: &Connection) -> Option<Result<Payload, AskError>> {
        let asked = async { Some(connection.ask("stopped", "").await) };
        smol::future::or(asked, async {
            let _ = self.stops.1.recv().await;
            None
        })
        .await
    }
}

impl Handler for Asking {
    async fn signal(&self, _: &Connection, _: Content) {
        let _ = self.stops.0.try_send(());
    }

    async fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> Result<Payload, RequestError> {
        let internal = |_| RequestError::Internal;
        match request.name() {
            // Asks back, and replies with what it learns.
            b"ask" => match connection.ask("where", request.into_payload()).await {
                Ok(answer) => Ok(answer),
                Err(error) => Ok(Payload::utf8(format!("error: {error}"))),
            },
            // Asks again and again, and replies with how many questions were stopped and how many refused.
            b"ask and stop" => {
                let (mut stopped, mut refused) = (0, 0);
                for _ in 0..200 {
                    match self.ask(connection).await {
                        None => stopped += 1,
                        Some(Err(_)) => refused += 1,
                        Some(Ok(_)) => {}
                    }
                }
                Ok(Payload::utf8(format!("{stopped} {refused}")))
            }
            b"login" => {
                let info = SessionInfo::new().public("user", "Ada").private("quota", 10);
                connection.create_session(info).await.map_err(internal)?;
                Ok(Payload::EMPTY)
            }
            b"rename" => {
                let info = SessionInfo::new().public("user", "Bob");
                let edit = SessionEdit::new().info(info).new_key();
                connection.edit_session(edit).await.map_err(internal)?;
                Ok(Payload::EMPTY)
            }
            _ => Err(RequestError::Internal),
        }
    }
}

/// Serves in this process, until it ends.
fn serve() -> String {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        smol::block_on(async {
            let mut config = wwr_smol::server::Config::default();
            config.origins = Origins::Any;
            // The signal that stops a question overtakes the request that asks.
            config.connection.concurrency = NonZeroU16::MIN.saturating_add(3);
            let asking = Asking { stops: smol::channel::unbounded() };
            let server =
                Server::builder(asking).config(config).listen("127.0.0.1:0").await.unwrap();
            sender.send(format!("ws://{}/", server.local_addr())).unwrap();
            server.run().await;
        });
    });
    receiver.recv().unwrap()
}

#[test]
fn a_page_answers_questions_of_the_server() {
    let Some(page) = Page::open() else { return };
    let url = serve();
    page.connect(&url);
    let without = page.run("return await client.request('ask', 'you')");
    assert!(without.as_str().unwrap().contains("handler"), "{without}");
    let answers = page.run(&format!(
        "const answer = async ({{ name, payload }}) => {{
           if (payload === 'no') throw new wwr.RemoteError('LOCKED', 'the screen is locked');
           if (payload === 'number') throw new wwr.RemoteError(404, 'no such screen');
           if (payload === 'oops') throw new Error('a secret of the page');
           if (payload === 'bytes') return new Uint8Array([104, 105]);
           if (payload === 'json') return {{ name }};
           return `${{name}} ${{payload}}`;
         }};
         const client = await wwr.connect({url:?}, {{ answer }});
         window.onerror = () => true;
         const answers = [];
         for (const payload of ['you 🦊', 'no', 'oops', 'bytes', 'json', 'number']) {{
           answers.push(await client.request('ask', payload, {{ as: 'text' }}));
         }}
         return answers;",
    ));
    assert_eq!(answers[0], json!("where you \u{1f98a}"));
    assert!(answers[1].as_str().unwrap().contains("LOCKED"), "{answers}");
    assert!(!answers[2].as_str().unwrap().contains("secret"), "{answers}");
    assert_eq!((&answers[3], &answers[4]), (&json!("hi"), &json!(r#"{"name":"where"}"#)));
    assert!(answers[5].as_str().unwrap().contains("404"), "{answers}");
}

#[test]
fn a_session_that_the_server_changes_is_kept_by_its_new_key() {
    let Some(page) = Page::open() else { return };
    let url = serve();
    let told = page.run(&format!(
        "const client = new wwr.Client({url:?}, {{ session: 'session' }});
         const told = [];
         client.addEventListener('session', ({{ how, session }}) => told.push([how, session.info]));
         await client.connect();
         await client.request('login');
         const before = client.session.key;
         await client.request('rename');
         const after = client.session.key;
         return [told, before !== after, Object.values(sessionStorage).join() === after];",
    ));
    let told_of = json!([["created", { "user": "Ada" }], ["updated", { "user": "Bob" }]]);
    assert_eq!(told, json!([told_of, true, true]));
}

#[test]
fn a_handler_is_told_that_nobody_waits_for_its_answer_and_counts_until_it_has_ended() {
    let Some(page) = Page::open() else { return };
    let url = serve();
    let seen = page.run(&format!(
        "window.working = new Set();
         window.most = 0;
         window.aborted = 0;
         const answer = (question, {{ signal }}) => new Promise((resolve, reject) => {{
           working.add(resolve);
           most = Math.max(most, working.size);
           // It works on all the same.
           signal.addEventListener('abort', () => {{ aborted += 1; }});
           client.signal('stop', 'x');
         }});
         window.client = await wwr.connect({url:?}, {{ answer }});
         const told = await client.request('ask and stop', 'x');
         return [told, most, aborted, working.size];",
    ));
    assert_eq!(seen, json!(["64 136", 64, 64, 64]));
    // Those that end make room.
    let seen = page.run(
        "const many = [...working].slice(0, 10);
         for (const one of many) { working.delete(one); one('late'); }
         return [await client.request('ask and stop', 'x'), most, aborted];",
    );
    assert_eq!(seen, json!(["10 190", 64, 74]));
}

#[test]
fn a_handler_that_stops_makes_room_and_what_it_throws_is_no_error() {
    let Some(page) = Page::open() else { return };
    let url = serve();
    let seen = page.run(&format!(
        "const errors = [];
         window.addEventListener('error', (event) => {{ errors.push(event.message); event.preventDefault(); }});
         const answer = (question, {{ signal }}) => new Promise((resolve, reject) => {{
           signal.addEventListener('abort', () => reject(signal.reason));
           client.signal('stop', 'x');
         }});
         window.client = await wwr.connect({url:?}, {{ answer }});
         return [await client.request('ask and stop', 'x'), errors];",
    ));
    assert_eq!(seen, json!(["200 0", []]));
}

#[test]
fn answers_wait_for_a_server_that_does_not_read() {
    let Some(page) = Page::open() else { return };
    let url = serve();
    let seen = page.run(&format!(
        "let waiting = 0;
         let sent = 0;
         Object.defineProperty(WebSocket.prototype, 'bufferedAmount', {{ get: () => waiting }});
         const send = WebSocket.prototype.send;
         WebSocket.prototype.send = function (...data) {{ sent += 1; return send.apply(this, data); }};
         const answered = new Promise((done) => {{ window.answered = done; }});
         const answer = async () => {{
           // As if the server had stopped reading.
           waiting = 20 << 20;
           setTimeout(window.answered);
           return 'the answer';
         }};
         const client = await wwr.connect({url:?}, {{ answer }});
         const reply = client.request('ask', 'x');
         const before = sent;
         await answered;
         const meanwhile = sent - before;
         const refused = await client.request('ask', 'x').catch(({{ code }}) => code);
         waiting = 0;
         return [meanwhile, refused, await reply];",
    ));
    assert_eq!(seen, json!([0, "backlogged", "the answer"]));
}
