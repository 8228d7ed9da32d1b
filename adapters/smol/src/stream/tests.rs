use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use smol::future::{poll_fn, poll_once};
use smol::net::TcpListener;
use wwr_async::Stream as _;

use super::*;

/// Wakes a thread, and records that.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// The case of an executor that does not drive the reactor itself: the thread of the reactor
/// already waits for events when this one registers interest.
#[test]
fn one_wake_up_is_enough_although_the_reactor_waited_before() {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = Async::new(listener.accept().unwrap().0).unwrap();
    let mut socket = Stream::from(Arc::new(accepted));
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(unpark.clone());
    let mut cx = Context::from_waker(&waker);
    let mut buffer = [0; 2];
    let deadline = Instant::now() + Duration::from_secs(60);
    for round in 0..200 {
        assert!(Pin::new(&mut socket).poll_read(&mut cx, &mut buffer).is_pending());
        // Time for the reactor to begin to wait. The test is not wrong if it does not.
        thread::sleep(Duration::from_millis(1));
        peer.write_all(b"a").unwrap();
        while !unpark.woken.swap(false, Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "no task is woken");
            thread::park_timeout(Duration::from_secs(1));
        }
        match Pin::new(&mut socket).poll_read(&mut cx, &mut buffer) {
            Poll::Ready(read) => assert_eq!(read.unwrap(), 1),
            Poll::Pending => panic!("woken for nothing in round {round}"),
        }
    }
}

/// A busy thread has not been told about bytes yet when it sees that a timer has ended.
#[test]
fn ask_kernel_finds_bytes_that_the_reactor_has_not_reported_yet() {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut socket = Stream::from(Arc::<Async<_>>::from(listener.accept().await.unwrap().0));
        let mut buffer = [0; 2];
        for _ in 0..200 {
            let mut read = poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut buffer));
            assert!(poll_once(&mut read).await.is_none());
            peer.write_all(b"a").unwrap();
            let Socket::Tcp(tcp) = &socket.socket else { panic!("no TCP") };
            while tcp.get_ref().peek(&mut [0]).is_err() {}
            socket.ask_kernel();
            let mut read = poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut buffer));
            assert_eq!(poll_once(&mut read).await.unwrap().unwrap(), 1);
        }
    });
}
