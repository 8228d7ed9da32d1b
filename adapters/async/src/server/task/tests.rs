use wwr::Content;

use super::*;
use crate::test_runtime::TestRuntime;

struct Nothing;

impl Handler for Nothing {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

/// Returns the size of the future that a function returns.
const fn size_of_future<A, B, F: Future>(_: &impl Fn(A, B) -> F) -> usize {
    size_of::<F>()
}

/// The memory of each idle connection on a server. A field that is added shows here; raise the
/// number if the field is needed.
#[cfg(target_pointer_width = "64")]
#[test]
fn an_idle_connection_is_small() {
    let run = |task: Box<Task<'static, Nothing, TestRuntime>>, admission| task.run(admission);
    let mut large = vec![
        ("the task", size_of::<Task<'_, Nothing, TestRuntime>>(), 1016),
        ("its future", size_of_future(&run), 384),
        ("the socket of it", size_of::<WebSocket<TestRuntime>>(), 336),
    ];
    large.retain(|(_, size, most)| size > most);
    assert_eq!(large, [], "name, size, and the most it may be");
}
