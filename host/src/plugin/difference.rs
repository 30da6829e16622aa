//! What a new version of a component has that the old one had not, and what it lost.

use super::component::{Component, Hook};

/// The difference in imports and hooks, a line for each, for operators.
#[must_use]
pub fn difference(old: &Component, new: &Component) -> String {
    let mut lines =
        vec![format!("compared with the version that serves, {} (the new one is {}):", old.version(), new.version())];
    let imports = |component: &Component| component.imports.clone();
    let hooks = |component: &Component| -> Vec<String> {
        Hook::ALL.iter().filter(|hook| component.has(**hook)).map(|hook| hook.as_str().to_owned()).collect()
    };
    lines.extend(changes("import", &imports(old), &imports(new)));
    lines.extend(changes("hook", &hooks(old), &hooks(new)));
    let worlds = |component: &Component| -> Vec<String> {
        component.world().iter().map(|world| world.as_str().to_owned()).collect()
    };
    lines.extend(changes("world", &worlds(old), &worlds(new)));
    if lines.len() == 1 {
        lines.push("  the same imports and hooks".to_owned());
    }
    lines.join("\n")
}

fn changes(what: &str, old: &[String], new: &[String]) -> Vec<String> {
    let only = |these: &[String], those: &[String], sign: char| -> Vec<String> {
        these.iter().filter(|one| !those.contains(one)).map(|one| format!("  {sign} {what} {one}")).collect()
    };
    let mut lines = only(new, old, '+');
    lines.extend(only(old, new, '-'));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_comes_before_what_is_gone() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let lines = changes("hook", &list(&["a", "b"]), &list(&["b", "c"]));
        assert_eq!(lines, ["  + hook c", "  - hook a"]);
        assert!(changes("hook", &list(&["a"]), &list(&["a"])).is_empty());
    }
}
