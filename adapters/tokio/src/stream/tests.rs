use std::future::poll_fn;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use wwr_async::{Runtime as _, Stream as _, Timer as _};

use super::*;
use crate::Tokio;

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(test);
}

async fn pair() -> (Stream, net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Stream::from(listener.accept().await.unwrap().0), peer)
}

/// Waits until bytes are in the socket, without the reactor.
fn wait_for_bytes(stream: &Stream) {
    let Socket::Tcp(socket) = &stream.socket else { panic!("no TCP") };
    while SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]).is_err() {}
}

async fn read(stream: &mut Stream, buffer: &mut [u8]) -> usize {
    poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buffer)).await.unwrap()
}

#[test]
fn ask_kernel_finds_bytes_that_the_reactor_has_not_reported_yet() {
    run(async {
        let (mut stream, mut peer) = pair().await;
        let mut buffer = [0; 2];
        for round in 0..50 {
            poll_fn(|cx| {
                let mut poll = || Pin::new(&mut stream).poll_read(cx, &mut buffer);
                assert!(poll().is_pending(), "{round}");
                peer.write_all(b"abc").unwrap();
                Poll::Ready(())
            })
            .await;
            wait_for_bytes(&stream);
            stream.ask_kernel();
            // Without the reactor, which runs only while this waits.
            poll_fn(|cx| {
                let read = Pin::new(&mut stream).poll_read(cx, &mut buffer);
                assert!(matches!(read, Poll::Ready(Ok(2))), "{read:?} in round {round}");
                Poll::Ready(())
            })
            .await;
            assert_eq!(read(&mut stream, &mut buffer).await, 1, "the reactor reports the rest");
        }
        drop(peer);
        stream.ask_kernel();
        assert_eq!(read(&mut stream, &mut buffer).await, 0);
    });
}

#[test]
fn a_task_that_gives_way_comes_after_those_whose_sockets_are_ready() {
    run(async {
        let (mut stream, mut peer) = pair().await;
        let heard = Arc::<AtomicBool>::default();
        let tell = heard.clone();
        let listening = tokio::spawn(async move {
            read(&mut stream, &mut [0; 2]).await;
            tell.store(true, Ordering::Relaxed);
        });
        // Now it waits for the reactor.
        yield_now().await;
        peer.write_all(b"abc").unwrap();
        let mut turns = 0;
        let busy = poll_fn(move |cx| {
            if heard.load(Ordering::Relaxed) {
                return Poll::Ready(turns);
            }
            turns += 1;
            Stream::give_way(cx);
            Poll::Pending
        });
        let turns = tokio::spawn(busy).await.unwrap();
        listening.await.unwrap();
        assert!(turns < 10, "{turns}");
    });
}

async fn is_ready(timer: &mut crate::runtime::Timer) -> bool {
    poll_fn(|cx| Poll::Ready(timer.poll(cx).is_ready())).await
}

#[test]
fn a_timer_is_ready_once_and_never_before_its_moment() {
    run(async {
        let mut timer = Tokio::default().timer();
        assert!(!is_ready(&mut timer).await);
        let begun = Instant::now();
        for (first, then) in [(60_000, 20), (5, 40)] {
            timer.set(Some(begun + Duration::from_millis(first)));
            let moment = begun + Duration::from_millis(then);
            timer.set(Some(moment));
            poll_fn(|cx| timer.poll(cx)).await;
            assert!(Instant::now() >= moment);
            assert!(!is_ready(&mut timer).await, "it is ready once");
        }
        timer.set(Some(begun));
        timer.set(None);
        assert!(!is_ready(&mut timer).await);
    });
}

#[test]
fn sockets_and_timers_work_in_a_task_without_budget() {
    run(async {
        let (mut stream, mut peer) = pair().await;
        let mut timer = Tokio::default().timer();
        let moment = Instant::now() + Duration::from_millis(1);
        timer.set(Some(moment));
        assert!(!is_ready(&mut timer).await);
        peer.write_all(b"a").unwrap();
        let Socket::Tcp(socket) = &stream.socket else { panic!("no TCP") };
        socket.readable().await.unwrap();
        tokio::time::sleep_until((moment + Duration::from_millis(5)).into()).await;
        poll_fn(|cx| {
            while let Poll::Ready(turn) = tokio::task::coop::poll_proceed(cx) {
                turn.made_progress();
            }
            let mut buffer = [0; 2];
            assert!(Pin::new(&mut stream).poll_read(cx, &mut buffer).is_ready());
            assert!(Pin::new(&mut stream).poll_write(cx, b"b").is_ready());
            assert!(timer.poll(cx).is_ready());
            Poll::Ready(())
        })
        .await;
    });
}
