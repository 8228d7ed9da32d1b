use std::fmt::Display;

use smol::channel::{Receiver, Sender, unbounded};
use wwr_smol::Json;
use wwr_smol::client::{Client, Error};
use wwr_smol::server::{Server, ServerHandle};

use super::server::{Text, User};
use super::{client, server};

struct Running {
    url: String,
    handle: ServerHandle,
}

impl Running {
    fn start() -> Self {
        let server = Server::builder(server::chat().unwrap());
        let server = smol::block_on(server.listen("127.0.0.1:0")).unwrap();
        let running =
            Self { url: format!("ws://{}/", server.local_addr()), handle: server.handle() };
        smol::spawn(server.run()).detach();
        running
    }

    async fn connect(&self) -> Client {
        Client::connect_to(&self.url).await.unwrap()
    }

    async fn user(&self, name: &str, room: &str) -> Client {
        let client = self.connect().await;
        login(&client, name).await.unwrap();
        enter(&client, room).await.unwrap();
        client
    }
}

async fn login(client: &Client, name: &str) -> Result<(), Error> {
    client.call("login", name).await
}

async fn enter(client: &Client, room: &str) -> Result<Vec<String>, Error> {
    let members = client.call::<Vec<User>>("enter", room).await?;
    Ok(members.into_iter().map(|user| user.name).collect())
}

async fn say(client: &Client, room: &str, text: &str) -> Result<usize, Error> {
    client.call("say", &Text { room: room.to_owned(), text: text.to_owned() }).await
}

fn code<T>(result: Result<T, Error>) -> String {
    let error = result.err().unwrap();
    error.code().unwrap_or_else(|| panic!("{error:?}")).into_owned()
}

#[test]
fn those_in_a_room_hear_what_is_said_in_it() {
    smol::block_on(async {
        let server = Running::start();
        let (ada, grace) = (server.user("ada", "rust").await, server.user("grace", "rust").await);
        let _alone = server.user("joan", "go").await;
        let mut heard = grace.signals::<Json<(User, Text)>>("said").unwrap();
        assert_eq!(say(&ada, "rust", "hello").await.unwrap(), 2);
        let Json((by, said)) = heard.next().await.unwrap().unwrap();
        assert_eq!((&*by.name, &*said.room, &*said.text), ("ada", "rust", "hello"));
        assert_eq!(enter(&grace, "rust").await.unwrap(), ["ada", "grace"]);
        assert_eq!(code(say(&ada, "go", "hello").await), "NOT_IN_ROOM");
        for text in ["hi\ngrace: I am grace", "\x1b[2J", &"a".repeat(2001)] {
            assert_eq!(code(say(&ada, "rust", text).await), "BAD_TEXT");
        }
        assert_eq!(code(enter(&ada, &"a".repeat(256)).await), "BAD_GROUP");
    });
}

#[test]
fn a_name_belongs_to_one_session() {
    smol::block_on(async {
        let server = Running::start();
        let (ada, other) = (server.user("ada", "rust").await, server.connect().await);
        assert_eq!(code(say(&other, "rust", "hello").await), "NO_SESSION");
        assert_eq!(code(enter(&other, "rust").await), "NO_SESSION");
        for name in ["ada", "Ada"] {
            assert_eq!(code(login(&other, name).await), "NAME_TAKEN");
        }
        assert_eq!(code(login(&other, "a\u{200b}da").await), "BAD_NAME");
        assert_eq!(code(login(&ada, "grace").await), "NAME_TAKEN");
        login(&other, "grace").await.unwrap();
        // At once, on one connection: one of them is the name, and nobody else can have it.
        let two = server.connect().await;
        let (first, second) = (login(&two, "joan"), login(&two, "joan"));
        let (first, second) = smol::future::zip(first, second).await;
        assert_eq!((first.is_ok(), code(second)), (true, "NAME_TAKEN".to_owned()));
        assert_eq!(code(login(&server.connect().await, "joan").await), "NAME_TAKEN");
    });
}

#[test]
fn a_room_lists_people_and_can_be_left() {
    smol::block_on(async {
        let server = Running::start();
        let (ada, grace) = (server.user("ada", "rust").await, server.user("grace", "rust").await);
        let second = server.connect().await;
        second.restore_session(ada.session().unwrap().key).await.unwrap();
        assert_eq!(enter(&second, "rust").await.unwrap(), ["ada", "grace"]);
        assert_eq!(say(&second, "rust", "hello").await.unwrap(), 3);
        assert!(grace.call::<bool>("leave", "rust").await.unwrap());
        assert!(!grace.call::<bool>("leave", "rust").await.unwrap());
        assert_eq!(code(say(&grace, "rust", "hello").await), "NOT_IN_ROOM");
        assert_eq!(enter(&ada, "rust").await.unwrap(), ["ada"]);
    });
}

#[test]
fn a_session_that_ends_leaves_its_rooms_and_its_name() {
    smol::block_on(async {
        let server = Running::start();
        let (ada, grace) = (server.user("ada", "rust").await, server.user("grace", "rust").await);
        ada.close_session().await.unwrap();
        assert_eq!(enter(&grace, "rust").await.unwrap(), ["grace"]);
        assert_eq!(code(say(&ada, "rust", "hello").await), "NO_SESSION");
        login(&server.connect().await, "ada").await.unwrap();
    });
}

#[test]
fn a_name_comes_back_with_its_session_unless_somebody_has_it() {
    smol::block_on(async {
        let server = Running::start();
        let ada = server.user("ada", "rust").await;
        let key = ada.session().unwrap().key;
        let second = server.connect().await;
        second.restore_session(key.clone()).await.unwrap();
        ada.close().await;
        assert_eq!(code(login(&server.connect().await, "ada").await), "NAME_TAKEN");
        second.close().await;
        let thief = server.connect().await;
        while login(&thief, "ada").await.is_err() {
            // The server may not have seen the end of the other connection yet.
        }
        let late = server.connect().await;
        let _ = late.restore_session(key).await;
        assert_eq!(code(say(&late, "rust", "I am ada").await), "NO_SESSION");
    });
}

/// The server has not seen the end of the old connection when the new one restores the session.
#[test]
fn a_session_survives_a_new_connection_that_overlaps_the_old_one() {
    smol::block_on(async {
        let server = Running::start();
        for _ in 0..20 {
            let old = server.user("ada", "rust").await;
            let (new, key) = (server.connect().await, old.session().unwrap().key);
            server.handle.session_connections(&key)[0].close();
            new.restore_session(key).await.unwrap();
            enter(&new, "rust").await.unwrap();
            old.close().await;
            new.close_session().await.unwrap();
        }
    });
}

/// A client as in a terminal: what is typed, and what is shown.
fn terminal(url: &str, name: &'static str) -> (Sender<String>, Receiver<String>, smol::Task<()>) {
    let (typed, lines) = unbounded();
    let (shown, show) = unbounded();
    let url = url.to_owned();
    let task = smol::spawn(async move {
        let client = Client::connect_to(&url).await.unwrap();
        let show_line = |line: &dyn Display| drop(shown.try_send(line.to_string()));
        client::chat(&client, name, "rust", Box::pin(lines), show_line).await;
        client::log_out(&client).await;
    });
    (typed, show, task)
}

async fn shows(output: &Receiver<String>, text: &str) {
    while output.recv().await.unwrap() != text {}
}

#[test]
fn two_terminals_chat_and_come_back_to_their_room() {
    smol::block_on(async {
        let server = Running::start();
        let (type_ada, ada, end_of_ada) = terminal(&server.url, "ada");
        shows(&ada, "(in rust: ada)").await;
        let (type_grace, grace, end_of_grace) = terminal(&server.url, "grace");
        shows(&grace, "(in rust: ada, grace)").await;
        type_ada.send("hello".to_owned()).await.unwrap();
        shows(&grace, "ada: hello").await;
        for connection in server.handle.connections() {
            connection.close();
        }
        for output in [&ada, &grace] {
            shows(output, "(disconnected)").await;
            while !output.recv().await.unwrap().starts_with("(in rust:") {}
        }
        type_grace.send("again".to_owned()).await.unwrap();
        shows(&ada, "grace: again").await;
        drop((type_ada, type_grace));
        end_of_ada.await;
        end_of_grace.await;
    });
}

/// What is typed while there is no connection waits until the client is in its room again.
#[test]
fn lines_typed_while_offline_are_said_in_the_room() {
    smol::block_on(async {
        let server = Running::start();
        let (type_ada, ada, end_of_ada) = terminal(&server.url, "ada");
        shows(&ada, "(in rust: ada)").await;
        let key = server.handle.connections()[0].session_key().unwrap();
        let grace = server.user("grace", "rust").await;
        let mut heard = grace.signals::<Json<(User, Text)>>("said").unwrap();
        for number in 0..2 {
            server.handle.session_connections(&key)[0].close();
            shows(&ada, "(disconnected)").await;
            for part in ["first", "second"] {
                type_ada.send(format!("{part} {number}")).await.unwrap();
            }
            for part in ["first", "second"] {
                let Json((by, said)) = heard.next().await.unwrap().unwrap();
                assert_eq!((&*by.name, said.text), ("ada", format!("{part} {number}")));
            }
        }
        drop(type_ada);
        end_of_ada.await;
        while let Ok(shown) = ada.try_recv() {
            assert!(!shown.contains("error"), "{shown}");
        }
    });
}
