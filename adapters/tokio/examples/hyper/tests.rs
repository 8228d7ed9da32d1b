#[path = "../../tests/visitors/mod.rs"]
mod visitors;

use super::*;
use visitors::{HANDSHAKE, ask, bearer, greeted, listen};

#[tokio::test]
async fn clients_of_every_version_talk_beside_other_paths() {
    let (listener, address) = listen().await;
    let clients = async {
        drop(greeted(&format!("ws://{address}/"), &bearer("any")).await);
        let answer = ask(address, "GET /health HTTP/1.0\r\n\r\n").await;
        assert_eq!((answer.status, &*answer.body), (200, "fine"));
        let answer = ask(address, &format!("{HANDSHAKE}\r\n")).await;
        assert_eq!((answer.status, answer.header("upgrade")), (101, vec!["websocket"]));
    };
    tokio::select! {
        served = serve(listener) => panic!("it ends: {served:?}"),
        () = clients => {}
    }
}
