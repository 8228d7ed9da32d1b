use smol::Async;
use smol::future::{or, poll_once, zip};
use smol::net::TcpStream;

use super::*;
use crate::socket::Transport;
use crate::test_runtime::{TestRuntime, TestStream};

type WebSocket = super::WebSocket<TestRuntime>;

/// Returns a server's WebSocket, and the socket of its client.
async fn pair() -> (WebSocket, TcpStream) {
    opened(Vec::new()).await
}

/// The same, with what came along with the handshake.
async fn opened(early: Vec<u8>) -> (WebSocket, TcpStream) {
    let (accepted, peer) = TestStream::pair();
    let client = TcpStream::from(Async::new(peer).unwrap());
    let (socket, limit) = (Socket::new(Transport::native(accepted)), Duration::from_secs(60));
    (WebSocket::new(&TestRuntime, socket, early, Role::Server, 1 << 20, limit), client)
}

fn close_frame(code: u16) -> CloseFrame {
    CloseFrame::new(code, "bye").unwrap()
}

/// Returns a frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = match payload.len() {
        length @ 0..=125 => vec![first, 0x80 | length as u8],
        length @ 126..=0xffff => [&[first, 0xfe], &(length as u16).to_be_bytes()[..]].concat(),
        length => [&[first, 0xff], &(length as u64).to_be_bytes()[..]].concat(),
    };
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

async fn next(socket: &mut WebSocket) -> Incoming {
    poll_fn(|cx| socket.poll_incoming(cx)).await
}

async fn message(socket: &mut WebSocket) -> Bytes {
    match next(socket).await {
        Incoming::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

async fn flush(socket: &mut WebSocket) {
    poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
}

#[test]
fn an_idle_websocket_has_no_buffers() {
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        for length in [0, 1, 125, 126, 0xffff, 0x1_0000, 1 << 20, 3] {
            let payload = vec![7; length];
            let sent = frame(0x82, &payload);
            let (written, received) = zip(client.write_all(&sent), message(&mut socket)).await;
            written.unwrap();
            assert_eq!(received, payload);
            assert!(!socket.framing.rests(), "not before it was flushed");
            socket.feed(received).unwrap();
            let mut echo = vec![0; sent.len() - 4];
            let (read, ()) = zip(client.read_exact(&mut echo), flush(&mut socket)).await;
            read.unwrap();
            assert!(echo.ends_with(&payload));
            assert!(socket.framing.rests(), "{length}");
        }
    });
}

#[test]
fn a_part_of_a_message_is_kept() {
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        let sent = [frame(0x82, b"first"), frame(0x82, b"second")].concat();
        for cut in 1..sent.len() {
            client.write_all(&sent[..cut]).await.unwrap();
            let mut messages = Vec::new();
            // As many bytes were read, so everything that was written is there.
            let goal = socket.framing.socket().read() + cut as u64;
            poll_fn(|cx| {
                while let Poll::Ready(Incoming::Message(message)) = socket.poll_incoming(cx) {
                    messages.push(message);
                }
                assert!(socket.poll_flush(cx).is_ready());
                if socket.framing.socket().read() == goal { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            let whole = frame(0x82, b"first").len();
            assert_eq!(socket.framing.rests(), cut == whole, "{cut}");
            client.write_all(&sent[cut..]).await.unwrap();
            while messages.len() < 2 {
                messages.push(message(&mut socket).await);
            }
            assert_eq!(messages, ["first", "second"]);
            flush(&mut socket).await;
            assert!(socket.framing.rests());
        }
    });
}

#[test]
fn the_fragments_of_a_message_are_kept() {
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        client.write_all(&frame(0x02, b"in ")).await.unwrap();
        client.write_all(&frame(0x89, b"ping")).await.unwrap();
        assert!(matches!(next(&mut socket).await, Incoming::Ping | Incoming::Pong));
        flush(&mut socket).await;
        let mut pong = [0; 6];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\x8a\x04ping");
        assert!(!socket.framing.rests());
        client.write_all(&frame(0x80, b"parts")).await.unwrap();
        assert_eq!(message(&mut socket).await, "in parts");
    });
}

#[test]
fn connections_reuse_the_same_buffers_in_turn() {
    smol::block_on(async {
        let (mut one, mut its) = pair().await;
        let (mut other, mut of_other) = pair().await;
        for _ in 0..3 {
            for (socket, client) in [(&mut one, &mut its), (&mut other, &mut of_other)] {
                client.write_all(&frame(0x82, b"hello")).await.unwrap();
                let received = message(socket).await;
                flush(socket).await;
                assert_eq!(received, "hello", "also after the buffers were given up");
            }
        }
    });
}

#[test]
fn waiting_output_counts_in_the_size_of_pooled_buffers() {
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        let message = Bytes::from(vec![7; 60_000]);
        for messages in [1, 20] {
            assert!(socket.framing.rests());
            for _ in 0..messages {
                socket.feed(message.clone()).unwrap();
            }
            let all = messages * message.len();
            assert!(socket.framing.size() > all, "{} for {all}", socket.framing.size());
            let mut received = vec![0; messages * (4 + message.len())];
            let (read, ()) = zip(client.read_exact(&mut received), flush(&mut socket)).await;
            read.unwrap();
        }
    });
}

#[test]
fn an_idle_websocket_answers_a_close_frame() {
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        flush(&mut socket).await;
        client.write_all(&frame(0x88, &1000_u16.to_be_bytes())).await.unwrap();
        let Incoming::Closed(Some(frame)) = next(&mut socket).await else { panic!() };
        assert_eq!(frame, CloseFrame::NORMAL);
        socket.finish(Duration::from_secs(60)).await;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"\x88\x02\x03\xe8");
    });
}

#[test]
fn a_close_frame_is_reported_as_it_came() {
    for (payload, code, reason) in [
        (&b""[..], 1005, ""),
        (b"\x03\xe9", 1001, ""),
        (b"\x0f\xa3banned\n", 4003, "banned\n"),
        (b"\x03\xf5", 1013, ""),
    ] {
        smol::block_on(async {
            let (mut socket, mut client) = pair().await;
            client.write_all(&frame(0x88, payload)).await.unwrap();
            let Incoming::Closed(Some(told)) = next(&mut socket).await else { panic!() };
            assert_eq!((told.code(), told.reason()), (code, reason));
        });
    }
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        client.write_all(&frame(0x88, b"\x0f\xa3\xff")).await.unwrap();
        let Incoming::Failed(error) = next(&mut socket).await else { panic!() };
        assert_eq!(violation(&error).map(|frame| frame.code()), Some(1007));
    });
}

#[test]
fn nothing_is_kept_or_sent_during_the_close_handshake() {
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        client.write_all(&frame(0x82, b"hello")).await.unwrap();
        assert_eq!(message(&mut socket).await, "hello");
        let mut closing = Box::pin(socket.close(close_frame(1001), Duration::from_secs(60)));
        let mut received = vec![0; 7];
        let first = client.read_exact(&mut received);
        zip(async { first.await.unwrap() }, poll_once(&mut closing)).await;
        assert_eq!(received, b"\x88\x05\x03\xe9bye");
        for unanswered in [frame(0x82, b"too late"), frame(0x89, b"ping"), frame(0x88, b"\x03\xe9")]
        {
            assert!(poll_once(&mut closing).await.is_none());
            client.write_all(&unanswered).await.unwrap();
        }
        closing.await;
        received.clear();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"");
    });
}

#[test]
fn bytes_that_came_with_the_handshake_are_read_first() {
    smol::block_on(async {
        let (mut socket, client) = opened(frame(0x82, b"early")).await;
        flush(&mut socket).await;
        assert!(!socket.framing.rests());
        assert_eq!(message(&mut socket).await, "early");
        flush(&mut socket).await;
        assert!(socket.framing.rests());
        drop(client);
        assert!(matches!(next(&mut socket).await, Incoming::Failed(_)));
    });
}

#[test]
fn a_peer_that_broke_the_rules_sees_the_end_before_it_closes() {
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        client.write_all(&frame(0x83, b"no such kind")).await.unwrap();
        assert!(matches!(next(&mut socket).await, Incoming::Failed(_)));
        let mut received = Vec::new();
        // The socket is dropped after this time at the latest, which would end it as well.
        let closing = socket.close(close_frame(1002), Duration::from_secs(10));
        let read = async { client.read_to_end(&mut received).await.is_ok() };
        let gave_up = async {
            closing.await;
            false
        };
        assert!(or(read, gave_up).await, "only when the server had waited long enough");
        assert_eq!(received, b"\x88\x05\x03\xeabye");
    });
}

#[test]
fn a_peer_that_pings_without_reading_is_not_read() {
    smol::block_on(async {
        let (mut socket, mut client) = pair().await;
        let pings = frame(0x89, &[7; 125]).repeat(1000);
        let writing = async {
            while client.write_all(&pings).await.is_ok() {}
            panic!("the socket fails");
        };
        let reading = poll_fn(|cx| {
            while let Poll::Ready(incoming) = socket.poll_incoming(cx) {
                assert!(matches!(incoming, Incoming::Ping | Incoming::Pong), "{incoming:?}");
                assert!(socket.pongs < WRITE_BACKLOG + 127, "{} bytes wait", socket.pongs);
            }
            if socket.poll_flush(cx).is_pending() && socket.pongs >= WRITE_BACKLOG {
                assert!(socket.poll_incoming(cx).is_pending() && !socket.is_writable());
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        or(reading, writing).await;
    });
}
