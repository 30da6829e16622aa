//! JSON Pointers (RFC 6901): where in a body something is.

use std::borrow::Cow;

/// Those into bodies are cut before the step that would make them longer than this.
const LONGEST: usize = 512;

/// A pointer of these steps into a body, from the outermost on.
pub(crate) fn pointer<'s>(steps: impl IntoIterator<Item = Cow<'s, str>>) -> String {
    let mut pointer = String::new();
    for step in steps {
        let before = pointer.len();
        push_step(&mut pointer, &step);
        if pointer.len() > LONGEST {
            pointer.truncate(before);
            break;
        }
    }
    pointer
}

/// Adds a step to a pointer (section 3).
pub(crate) fn push_step(pointer: &mut String, name: &str) {
    pointer.push('/');
    for character in name.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}
