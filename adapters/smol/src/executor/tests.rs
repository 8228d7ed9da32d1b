use super::*;

#[test]
fn a_task_that_panics_ends_and_others_go_on() {
    let executor = Executor::new();
    executor.spawn(async { panic!("on purpose") }).detach();
    let task = executor.spawn(async {
        smol::future::yield_now().await;
        7
    });
    let mut done = None;
    run(&executor, async { done = Some(task.await) });
    assert_eq!(done, Some(7));
}

#[test]
fn a_panic_of_the_future_comes_back_to_the_caller() {
    let run = || run(&Executor::new(), async { panic!("on purpose") });
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
}
