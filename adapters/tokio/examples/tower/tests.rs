#[path = "../../tests/visitors/mod.rs"]
mod visitors;

use super::*;
use visitors::{HANDSHAKE, ask, bearer, greeted, listen};

#[tokio::test]
async fn clients_of_every_version_pass_the_layers() {
    let (listener, address) = listen().await;
    let clients = async {
        let url = format!("ws://{address}/");
        drop(greeted(&url, &bearer("secret")).await);

        // A layer answers.
        let stranger = HANDSHAKE.replace(": Upgrade", ": Upgrade, close");
        assert_eq!(ask(address, &format!("{stranger}\r\n")).await.status, 401);
        // What a layer adds to an answer is there, and once.
        let asked =
            "WEBWIRE / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nOrigin: https://a.test\r\n";
        let asked = ask(address, &format!("{asked}Authorization: Bearer secret\r\n\r\n")).await;
        assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, vec!["*"]));
        assert_eq!(asked.header("access-control-expose-headers"), ["*"]);
        assert!(asked.body.contains("protocol-version"), "{asked:?}");
    };
    tokio::select! {
        served = serve(listener) => panic!("it ends: {served:?}"),
        () = clients => {}
    }
}
