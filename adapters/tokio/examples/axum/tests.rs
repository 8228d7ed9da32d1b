#[path = "../../tests/visitors/mod.rs"]
mod visitors;

use super::*;
use visitors::{HANDSHAKE, ask, bearer, greeted, listen};

#[tokio::test]
async fn clients_of_every_version_talk_beside_a_json_route() {
    let (listener, address) = listen().await;
    let clients = async {
        let url = format!("ws://{address}/chat");
        let clients = greeted(&url, &bearer("secret")).await;
        let answer = ask(address, "GET /connections HTTP/1.0\r\n\r\n").await;
        assert_eq!((&*answer.body, answer.header("content-type")), ("3", vec!["application/json"]));
        drop(clients);
        // The extractor comes first.
        let stranger = HANDSHAKE.replace("/ ", "/chat ").replace(": Upgrade", ": Upgrade, close");
        assert_eq!(ask(address, &format!("{stranger}\r\n")).await.status, 401);
    };
    tokio::select! {
        served = serve(listener) => panic!("it ends: {served:?}"),
        () = clients => {}
    }
}
