//! Which known name was probably meant.

/// The name nearest to a wrong one, if it is near: at most one edit for three characters.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = wrong.chars().count();
    // The work is the product of both lengths, and nobody means a name this long.
    if length > 64 {
        return None;
    }
    let folded = fold(wrong);
    known
        .into_iter()
        .filter(|name| *name != wrong && name.len() <= 64)
        .map(|name| (distance(&folded, &fold(name)), name))
        .filter(|(edits, name)| *edits <= (length.min(name.chars().count()) / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Capitals and underscores are what other programs would have us write.
fn fold(name: &str) -> Vec<char> {
    name.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Insertions, removals, changes and swaps of neighbours between two words (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = above[j] + usize::from(x != y);
            let mut least = change.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_what_was_meant() {
        let known = ["upstream", "route", "path", "path-prefix", "body-size", "kv"];
        assert_eq!(nearest("upsteam", known), Some("upstream"));
        assert_eq!(nearest("uptsream", known), Some("upstream"));
        assert_eq!(nearest("path_prefix", known), Some("path-prefix"));
        assert_eq!(nearest("bodySize", known), Some("body-size"));
        assert_eq!(nearest("Path", known), Some("path"));
        assert_eq!(nearest("kw", known), Some("kv"));
        assert_eq!(nearest("zz", known), None);
        assert_eq!(nearest("timeout", known), None);
        assert_eq!(nearest(&"u".repeat(100_000), known), None);
    }

    #[test]
    fn distances_count_edits() {
        let of = |a: &str, b: &str| distance(&fold(a), &fold(b));
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("abc", "abc"), 0);
        assert_eq!(of("ca", "ac"), 1);
        assert_eq!(of("kitten", "sitting"), 3);
    }
}
