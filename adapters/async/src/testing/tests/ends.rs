//! How a run ends.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use futures_lite::future::yield_now;

use super::*;
use crate::testing::Stopped;

#[test]
fn a_run_that_waits_for_nothing_ends_with_the_reason() {
    let simulation = Simulation::new(1);
    simulation.advance(3 * SECOND);
    let stopped = simulation.try_run(pending::<()>()).unwrap_err();
    assert_eq!(stopped, Stopped::Deadlock { at: 3 * SECOND });
    let panic = catch_unwind(AssertUnwindSafe(|| simulation.run(pending::<()>()))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("deadlock after 3s of virtual time: no task can run"), "{text}");
    // The simulation goes on.
    simulation.run(simulation.sleep(SECOND));
    assert_eq!(simulation.elapsed(), 4 * SECOND);
}

#[test]
fn a_run_that_waits_for_too_long_ends_with_the_reason() {
    let world = Fixture::new(1);
    // Pings go on for ever.
    let stopped = world.simulation.try_run(async {
        let client = world.client().await;
        client.request_within(Duration::MAX, "never", "").await
    });
    let limit = 24 * 3600 * SECOND;
    assert_eq!(stopped.unwrap_err(), Stopped::TimeLimit { limit });
    assert!(world.elapsed() <= limit);
    let simulation = Simulation::new(1).with_time_limit(SECOND);
    assert!(
        simulation.try_run(simulation.sleep(SECOND)).is_ok(),
        "all of it may pass, in each run"
    );
    assert!(simulation.try_run(simulation.sleep(SECOND)).is_ok());
    let stopped = simulation.try_run(simulation.sleep(2 * SECOND)).unwrap_err();
    assert_eq!(stopped, Stopped::TimeLimit { limit: SECOND });
    assert!(stopped.to_string().contains("more than 1s of virtual time"), "{stopped}");
    assert_eq!(simulation.elapsed(), 2 * SECOND, "no time passed in vain");
}

#[test]
fn a_run_in_which_a_task_never_rests_ends_with_the_reason() {
    async fn busy() {
        loop {
            yield_now().await;
        }
    }

    for in_background in [false, true] {
        let simulation = Simulation::new(1).with_step_limit(1000);
        let stopped = if in_background {
            simulation.runtime().spawn(busy());
            simulation.try_run(pending::<()>()).unwrap_err()
        } else {
            simulation.try_run(busy()).unwrap_err()
        };
        assert_eq!(stopped, Stopped::StepLimit { at: Duration::ZERO, limit: 1000 });
        assert!(stopped.to_string().contains("more than 1000 steps"), "{stopped}");
    }
}

#[test]
fn a_run_inside_of_a_run_says_so() {
    let simulation = Simulation::new(1);
    let run = || simulation.run(async { simulation.advance(SECOND) });
    let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    assert!(panic.downcast_ref::<&str>().unwrap().starts_with("a run inside of a run"));
    simulation.advance(SECOND);
    assert_eq!(simulation.elapsed(), SECOND);
}

#[test]
fn a_panic_of_a_task_of_the_test_is_one_of_the_run() {
    let simulation = Simulation::new(1);
    simulation.runtime().spawn(async { panic!("on purpose") });
    let panic = catch_unwind(AssertUnwindSafe(|| simulation.advance(SECOND))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
}

#[test]
fn time_passes_only_when_nothing_can_run_and_timers_end_in_order() {
    let (simulation, log) = (Simulation::new(1), Log::default());
    for seconds in [5, 1, 3, 1] {
        let (log, sleep) = (log.clone(), simulation.sleep(seconds * SECOND));
        simulation.runtime().spawn(async move {
            sleep.await;
            for _ in 0..100 {
                yield_now().await;
            }
            log.note(Duration::ZERO, seconds.to_string());
        });
    }
    let started = simulation.runtime().clock();
    simulation.advance(4 * SECOND);
    let passed = |log: &Log| log.all().into_iter().map(|(_, text)| text).collect::<String>();
    assert_eq!(passed(&log), "113");
    assert_eq!(started.now(), wwr::Instant::EPOCH + 4 * SECOND);
    simulation.advance(SECOND);
    assert_eq!(passed(&log), "1135");
    assert_eq!(simulation.run(simulation.timeout(SECOND, pending::<()>())), None);
    assert_eq!(simulation.run(simulation.timeout(SECOND, async { 7 })), Some(7));
    assert_eq!(simulation.elapsed(), 6 * SECOND);
    assert_eq!(simulation.run(simulation.runtime().unblock(|| 7)).unwrap(), 7);
}

#[test]
fn a_simulation_that_is_dropped_leaves_nothing_behind() {
    let witness = Arc::new(());
    let world = Fixture::new(1);
    let held = witness.clone();
    world.server.runtime().spawn(async move {
        pending::<()>().await;
        drop(held);
    });
    let client = world.simulation.run(async {
        let client = world.client().await;
        client.request("echo", "").await.unwrap();
        client
    });
    let Fixture { simulation, server, handle, log, .. } = world;
    let shared = Arc::downgrade(&simulation.world);
    assert_eq!(Arc::strong_count(&witness), 2);
    drop(simulation);
    assert_eq!(Arc::strong_count(&witness), 1);
    // What is still held does nothing any more.
    let held = witness.clone();
    server.runtime().spawn(async move { drop(held) });
    assert_eq!(Arc::strong_count(&witness), 1);
    server.cut();
    let request = smol::block_on(client.request("echo", ""));
    assert!(request.is_err(), "{request:?}");
    drop((client, server, handle, log));
    drop(world.ada);
    assert!(shared.upgrade().is_none());
}

#[test]
fn the_tasks_of_a_host_that_crashes_end_before_they_run_again() {
    let (simulation, log) = (Simulation::new(1), Log::default());
    let host = simulation.host("old");
    for runtime in [host.runtime(), simulation.runtime()] {
        let (log, clock, mut polls) = (log.clone(), runtime.clock(), 0);
        let mut timer = runtime.timer();
        runtime.spawn(poll_fn(move |cx| {
            use crate::runtime::Timer as _;
            polls += 1;
            log.note(Duration::from_nanos(clock.now().as_nanos()), polls.to_string());
            timer.set_after(SECOND);
            assert!(timer.poll(cx).is_pending());
            Poll::<()>::Pending
        }));
    }
    simulation.advance(SECOND / 2);
    host.crash();
    simulation.advance(SECOND);
    let polls = log.all();
    let at_most = |seconds| polls.iter().filter(|(at, _)| *at <= seconds).count();
    assert_eq!((at_most(Duration::ZERO), polls.len()), (2, 3), "{polls:?}");
    // After the crash, the host has tasks again.
    let (sender, receiver) = futures_channel::oneshot::channel();
    host.runtime().spawn(async { sender.send(7).unwrap() });
    assert_eq!(simulation.run(receiver), Ok(7));
}
