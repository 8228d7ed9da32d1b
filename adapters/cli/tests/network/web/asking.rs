//! What a server of this project does besides answering: it asks, and changes sessions.

use std::sync::mpsc;
use std::thread;

use serde_json::json;
use wwr::server::RequestError;
use wwr::{Content, Payload, SessionInfo};
use wwr_smol::server::{Connection, Handler, Origins, Server, SessionEdit};

use super::Page;

struct Asking;

impl Handler for Asking {
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
            let server =
                Server::builder(Asking).config(config).listen("127.0.0.1:0").await.unwrap();
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
           if (payload === 'oops') throw new Error('a secret of the page');
           if (payload === 'bytes') return new Uint8Array([104, 105]);
           if (payload === 'json') return {{ name }};
           return `${{name}} ${{payload}}`;
         }};
         const client = await wwr.connect({url:?}, {{ answer }});
         window.onerror = () => true;
         const answers = [];
         for (const payload of ['you 🦊', 'no', 'oops', 'bytes', 'json']) {{
           answers.push(await client.request('ask', payload, {{ as: 'text' }}));
         }}
         return answers;",
    ));
    assert_eq!(answers[0], json!("where you \u{1f98a}"));
    assert!(answers[1].as_str().unwrap().contains("LOCKED"), "{answers}");
    assert!(!answers[2].as_str().unwrap().contains("secret"), "{answers}");
    assert_eq!((&answers[3], &answers[4]), (&json!("hi"), &json!(r#"{"name":"where"}"#)));
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
