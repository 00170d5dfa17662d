//! Turns a panic of the code under test into a message, with the place where it happened.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// `None` unless this thread is inside [`catch`]; then the message of the last panic, if there was one.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs `work`.
///
/// # Errors
/// The message and place of its panic. Nothing is printed.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            let caught =
                CAUGHT.with_borrow_mut(|message| message.as_mut().map(|message| *message = info.to_string()).is_some());
            if !caught {
                usual(info);
            }
        }));
    });
    CAUGHT.with_borrow_mut(|message| *message = Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let message = CAUGHT.take();
    outcome.map_err(|_| message.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_message_with_its_place() {
        let message = catch(|| -> u8 { panic!("the reason") }).unwrap_err();
        assert!(message.contains("the reason") && message.contains("panics.rs"), "{message}");
        assert_eq!(catch(|| 5), Ok(5));
    }
}
