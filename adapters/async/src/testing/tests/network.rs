//! The simulated network.

use futures_lite::future::zip;
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::runtime::SocketAddress;
use crate::testing::VirtualStream;
use crate::testing::link::CAPACITY;

/// A connection from `ada` to `bea`.
fn connected(simulation: &Simulation) -> ([Host; 2], [VirtualStream; 2]) {
    let names = ["ada", "bea"].map(ToOwned::to_owned);
    let hosts = names.each_ref().map(|name| simulation.host(name));
    (hosts, VirtualStream::pair(&simulation.world, names))
}

#[test]
fn bytes_arrive_in_order_after_the_latency_of_both_hosts_and_the_end_comes_last() {
    let simulation = Simulation::new(1);
    let ([ada, bea], [mut ours, mut theirs]) = connected(&simulation);
    ada.set_latency(SECOND);
    bea.set_latency(2 * SECOND);
    bea.set_jitter(SECOND);
    simulation.run(async {
        for number in 0..100 {
            ours.write_all(&[number]).await.unwrap();
        }
        ours.close().await.unwrap();
        assert_eq!(ours.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        assert!(read.into_iter().eq(0..100));
        theirs.write_all(b"back").await.unwrap();
        let mut read = [0; 4];
        ours.read_exact(&mut read).await.unwrap();
    });
    assert!(
        (6 * SECOND..=8 * SECOND).contains(&simulation.elapsed()),
        "{:?}",
        simulation.elapsed()
    );
}

#[test]
fn a_connection_holds_a_bounded_number_of_bytes() {
    let simulation = Simulation::new(1);
    let ([_, bea], [mut ours, mut theirs]) = connected(&simulation);
    bea.stop_reading();
    let data = vec![7; 3 * CAPACITY];
    simulation.run(async {
        let mut written = 0;
        while let Some(count) = simulation.timeout(SECOND, ours.write(&data)).await {
            written += count.unwrap();
        }
        assert_eq!(written, CAPACITY);
        let mut byte = [0];
        assert!(simulation.timeout(SECOND, theirs.read(&mut byte)).await.is_none());
        bea.resume_reading();
        let mut read = vec![0; CAPACITY + data.len()];
        let (sent, came) = zip(ours.write_all(&data), theirs.read_exact(&mut read)).await;
        sent.and(came).unwrap();
        drop(theirs);
        assert_eq!(ours.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_partition_hides_everything_until_it_heals_even_a_crash() {
    let simulation = Simulation::new(1);
    let ([ada, bea], [mut ours, mut theirs]) = connected(&simulation);
    simulation.run(async {
        ours.write_all(b"before").await.unwrap();
        ada.partition();
        let mut read = [0; 6];
        assert!(simulation.timeout(SECOND, theirs.read_exact(&mut read)).await.is_none());
        ada.heal();
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"before");
        bea.partition();
        ada.crash();
        let reset = ours.read(&mut read).await.unwrap_err();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(simulation.timeout(SECOND, theirs.read(&mut read)).await.is_none());
        let healed = async {
            simulation.sleep(SECOND).await;
            bea.heal();
        };
        let (read, ()) = zip(theirs.read(&mut read), healed).await;
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        let write = theirs.write(b"x").await.unwrap_err();
        assert_eq!(write.kind(), std::io::ErrorKind::ConnectionReset);
    });
    drop((ours, theirs));
    assert!(simulation.world.lock().links.is_empty());
}

#[test]
fn hosts_have_addresses_and_a_request_takes_the_way_there_and_back() {
    let world = Fixture::new(1);
    let simulation = &world.simulation;
    world.server.set_latency(SECOND);
    simulation.run(async {
        assert_eq!(world.server.address().to_string(), "10.0.0.1");
        assert_eq!(simulation.host("CHAT.test").address(), world.server.address());
        let client = world.client().await;
        let before = world.elapsed();
        let remote = client.request("remote", "").await.unwrap();
        assert_eq!(world.elapsed() - before, 2 * SECOND);
        assert_eq!(remote.text().unwrap(), "10.0.0.2:49153", "after the port of the preflight");
    });
}

#[test]
fn several_servers_have_their_names_and_what_cannot_be_reached_says_why() {
    let world = Fixture::new(1);
    let other = world.simulation.host("other.test");
    other.serve(other.server(app(&other, &world.log))).unwrap();
    let handles =
        [&world.server, &other].map(|host| host.serve(host.server(app(host, &world.log))));
    let connect = |url| world.simulation.run(world.ada.client(url).unwrap().connect());
    let first = connect("ws://chat.test/").unwrap();
    let second = connect("ws://other.test:1234/path").unwrap();
    for handle in handles {
        assert_eq!(handle.unwrap().connection_count(), 1);
    }
    drop((first, second));
    world.server.refuse();
    for (url, said) in [
        ("ws://chat.test/", "refused"),
        ("ws://ada/", "refused"),
        ("ws://nowhere.test/", "no host nowhere.test"),
    ] {
        let error = connect(url).unwrap_err();
        let chain = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(chain.contains(said), "{url}: {chain}");
    }
    let to = |address: ([u8; 4], u16)| SocketAddress::Tcp(address.into());
    for (runtime, to, said) in [
        (world.ada.runtime(), to(([127, 0, 0, 1], 80)), "no host at 127.0.0.1, and no sockets"),
        #[cfg(unix)]
        (world.ada.runtime(), SocketAddress::Unix("/tmp/x".into()), "no unix sockets"),
        (world.simulation.runtime(), to(([10, 0, 0, 1], 80)), "use Host::runtime"),
    ] {
        let error = world.simulation.run(runtime.connect(to)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let listen = world.server.server(app(&world.server, &world.log)).listen("127.0.0.1:0");
    let error = world.simulation.run(listen).unwrap_err();
    assert!(error.to_string().contains("use Host::serve"), "{error}");
}
