//! Numbers that plugins keep: bounded for each plugin, whatever it does.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::lock;

/// Metrics of one plugin.
const FAMILIES: usize = 64;
/// Series of one plugin, in all of its metrics.
const SERIES: usize = 1000;
/// Labels of one metric.
const LABELS: usize = 8;
/// Bounds of one histogram.
const BOUNDS: usize = 32;
/// The longest value of a label, in bytes.
const LONGEST_VALUE: usize = 128;
/// The longest help, in bytes.
const LONGEST_HELP: usize = 256;

/// The metrics that one plugin keeps. They live as long as a load of it does.
#[derive(Debug, Default)]
pub struct Custom {
    families: Mutex<Families>,
    /// Series so far, in all of them.
    series: Arc<AtomicU64>,
    /// What was not kept, because it was no number or beyond the range.
    dropped: Arc<AtomicU64>,
}

/// By kind and name.
type Families = BTreeMap<(&'static str, Box<str>), Arc<Family>>;

/// One metric of a plugin: a name, and a series for each combination of values that its labels have had.
#[derive(Debug)]
pub struct Family {
    pub(super) help: Box<str>,
    pub(super) labels: Box<[Box<str>]>,
    pub(super) kind: Kind,
    series: Mutex<HashMap<Box<[Box<str>]>, Number>>,
    all: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
}

/// What a metric keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// One that goes up and down.
    Gauge,
    /// How values are spread, by upper bounds.
    Histogram(Vec<f64>),
}

/// The state of one series.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    Count(u64),
    Level(i64),
    /// For each bound and for everything, how many; and the sum.
    Spread(Vec<u64>, f64),
}

/// Why there is no such metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FamilyError {
    /// A name of a metric or a label that is none.
    Name(String),
    /// More metrics or labels than there may be.
    TooMany,
    /// There is one of this name that is another.
    Conflict,
    /// Bounds that cannot be.
    Buckets,
}

impl Kind {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Custom {
    /// The metric of this name, made if there is none.
    ///
    /// # Errors
    /// Where it cannot be, or is another than the one that is there.
    pub fn open(&self, name: &str, help: &str, labels: &[String], kind: Kind) -> Result<Arc<Family>, FamilyError> {
        check_name(name)?;
        if labels.len() > LABELS {
            return Err(FamilyError::TooMany);
        }
        for (at, label) in labels.iter().enumerate() {
            check_name(label)?;
            // The host's own.
            if label == "plugin" || label == "le" || labels[..at].contains(label) {
                return Err(FamilyError::Name(label.clone()));
            }
        }
        if let Kind::Histogram(bounds) = &kind {
            let rises = bounds.windows(2).all(|pair| pair[0] < pair[1]);
            let finite = bounds.iter().all(|bound| bound.is_finite());
            if bounds.is_empty() || bounds.len() > BOUNDS || !rises || !finite {
                return Err(FamilyError::Buckets);
            }
        }
        let mut families = lock(&self.families);
        let key = (kind.as_str(), Box::from(name));
        if let Some(known) = families.get(&key) {
            let same = known.kind == kind && known.labels.iter().map(|label| &**label).eq(labels.iter());
            return if same { Ok(known.clone()) } else { Err(FamilyError::Conflict) };
        }
        if families.keys().any(|(_, known)| **known == *name) {
            return Err(FamilyError::Conflict);
        }
        if families.len() >= FAMILIES {
            return Err(FamilyError::TooMany);
        }
        let family = Arc::new(Family {
            // A line of its own in the exposition, and no more than one.
            help: cut(help, LONGEST_HELP)
                .replace(|character: char| character.is_control() || character == '\\', " ")
                .into(),
            labels: labels.iter().map(|label| Box::from(label.as_str())).collect(),
            kind,
            series: Mutex::default(),
            all: self.series.clone(),
            dropped: self.dropped.clone(),
        });
        families.insert(key, family.clone());
        Ok(family)
    }

    /// Every metric with its kind and name.
    pub(super) fn families(&self) -> Vec<(Box<str>, Arc<Family>)> {
        lock(&self.families).iter().map(|((_, name), family)| (name.clone(), family.clone())).collect()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl Family {
    /// Adds to a counter.
    pub fn count(&self, values: &[String], by: u64) {
        self.change(values, |number| match number {
            Number::Count(count) => count.checked_add(by).map(|sum| *count = sum).is_some(),
            Number::Level(_) | Number::Spread(..) => false,
        });
    }

    /// Sets a gauge.
    pub fn set(&self, values: &[String], value: i64) {
        self.change(values, |number| match number {
            Number::Level(level) => {
                *level = value;
                true
            }
            Number::Count(_) | Number::Spread(..) => false,
        });
    }

    /// Moves a gauge.
    pub fn move_by(&self, values: &[String], by: i64) {
        self.change(values, |number| match number {
            Number::Level(level) => level.checked_add(by).map(|sum| *level = sum).is_some(),
            Number::Count(_) | Number::Spread(..) => false,
        });
    }

    /// Adds a value to a histogram.
    pub fn observe(&self, values: &[String], value: f64) {
        let Kind::Histogram(bounds) = &self.kind else { return };
        let finite = value.is_finite();
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        self.change(values, |number| match number {
            Number::Spread(counts, sum) if finite => {
                counts[bucket] += 1;
                *sum += value;
                true
            }
            Number::Spread(..) | Number::Count(_) | Number::Level(_) => false,
        });
    }

    /// Each series with the values of its labels.
    pub(super) fn series(&self) -> Vec<(Box<[Box<str>]>, Number)> {
        let mut all: Vec<_> =
            lock(&self.series).iter().map(|(values, number)| (values.clone(), number.clone())).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    fn change(&self, values: &[String], change: impl FnOnce(&mut Number) -> bool) {
        let value = |at: usize| values.get(at).map_or_else(Box::default, |value| printable(cut(value, LONGEST_VALUE)));
        let mut key: Box<[Box<str>]> = (0..self.labels.len()).map(value).collect();
        let mut series = lock(&self.series);
        if !series.contains_key(&key) {
            // One more may come in between from another worker, in another metric; then there are some more in all.
            if self.all.load(Relaxed) >= SERIES as u64 {
                key.iter_mut().for_each(|value| *value = "other".into());
            }
            if !series.contains_key(&key) {
                self.all.fetch_add(1, Relaxed);
                series.insert(key.clone(), self.nothing());
            }
        }
        let kept = series.get_mut(&key).is_some_and(change);
        drop(series);
        if !kept {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    fn nothing(&self) -> Number {
        match &self.kind {
            Kind::Counter => Number::Count(0),
            Kind::Gauge => Number::Level(0),
            Kind::Histogram(bounds) => Number::Spread(vec![0; bounds.len() + 1], 0.0),
        }
    }
}

/// A value that every reader of the exposition takes. It can escape the end of a line, and no other control character.
fn printable(value: &str) -> Box<str> {
    let is_odd = |character: char| character.is_ascii_control() && character != '\n';
    if value.contains(is_odd) { value.replace(is_odd, " ").into() } else { value.into() }
}

fn check_name(name: &str) -> Result<(), FamilyError> {
    let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if begins && name.len() <= 64 && name.bytes().all(right) {
        Ok(())
    } else {
        Err(FamilyError::Name(name.escape_debug().take(64).collect()))
    }
}

/// What a plugin says, cut between two characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_same_name_is_the_same_metric_or_a_conflict() {
        let custom = Custom::default();
        let open = |name: &str, names: &[&str], kind| custom.open(name, "", &labels(names), kind);
        let one = open("seen", &["a"], Kind::Counter).unwrap();
        assert!(Arc::ptr_eq(&one, &open("seen", &["a"], Kind::Counter).unwrap()));
        assert_eq!(open("seen", &["b"], Kind::Counter).unwrap_err(), FamilyError::Conflict);
        assert_eq!(open("seen", &["a"], Kind::Gauge).unwrap_err(), FamilyError::Conflict);
        open("spread", &[], Kind::Histogram(vec![1.0, 2.0])).unwrap();
        assert_eq!(open("spread", &[], Kind::Histogram(vec![1.0])).unwrap_err(), FamilyError::Conflict);
    }

    #[test]
    fn what_cannot_be_a_metric_is_refused() {
        let custom = Custom::default();
        for name in ["", "A", "1a", "a-b", "a b", "ä", &"a".repeat(65), "_a", "a\n"] {
            assert!(matches!(custom.open(name, "", &[], Kind::Counter), Err(FamilyError::Name(_))), "{name:?}");
            let label = custom.open("a", "", &labels(&[name]), Kind::Counter);
            assert!(matches!(label, Err(FamilyError::Name(_))), "{name:?}");
        }
        for names in [&["plugin"][..], &["le"], &["a", "a"]] {
            assert!(matches!(custom.open("a", "", &labels(names), Kind::Counter), Err(FamilyError::Name(_))));
        }
        let nine: Vec<_> = (0..9).map(|number| format!("l{number}")).collect();
        assert_eq!(custom.open("a", "", &nine, Kind::Counter).unwrap_err(), FamilyError::TooMany);
        let many: Vec<_> = (0..33).map(f64::from).collect();
        for bounds in [vec![], vec![1.0, 1.0], vec![2.0, 1.0], vec![f64::NAN], vec![f64::INFINITY], many] {
            assert_eq!(custom.open("a", "", &[], Kind::Histogram(bounds)).unwrap_err(), FamilyError::Buckets);
        }
        for number in 0..FAMILIES {
            custom.open(&format!("m{number}"), "", &[], Kind::Counter).unwrap();
        }
        assert_eq!(custom.open("more", "", &[], Kind::Counter).unwrap_err(), FamilyError::TooMany);
    }

    #[test]
    fn series_are_bounded_and_the_rest_is_other() {
        let custom = Custom::default();
        let seen = custom.open("seen", "", &labels(&["who"]), Kind::Counter).unwrap();
        let other = custom.open("other", "", &labels(&["who"]), Kind::Gauge).unwrap();
        for number in 0..SERIES * 3 {
            seen.count(&[number.to_string()], 1);
        }
        other.set(&["a".to_owned()], 7);
        let all = seen.series();
        assert_eq!(all.len(), SERIES + 1);
        let rest = all.iter().find(|(values, _)| *values[0] == *"other").map(|(_, number)| number.clone());
        assert_eq!(rest, Some(Number::Count(2 * SERIES as u64)));
        assert_eq!(other.series(), [(Box::from([Box::from("other")]), Number::Level(7))]);
    }

    #[test]
    fn help_is_one_line() {
        let custom = Custom::default();
        let seen = custom.open("seen", "one\n# TYPE other counter\r\\", &[], Kind::Counter).unwrap();
        assert_eq!(&*seen.help, "one # TYPE other counter  ");
    }

    #[test]
    fn what_is_no_number_is_dropped_and_counted() {
        let custom = Custom::default();
        let spread = custom.open("spread", "", &[], Kind::Histogram(vec![1.0, 10.0])).unwrap();
        for value in [0.5, 1.0, 1.5, 11.0, -3.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            spread.observe(&[], value);
        }
        assert_eq!(spread.series()[0].1, Number::Spread(vec![3, 1, 1], 11.0));
        let count = custom.open("count", "", &[], Kind::Counter).unwrap();
        count.count(&[], u64::MAX);
        count.count(&[], 1);
        assert_eq!(count.series()[0].1, Number::Count(u64::MAX));
        let level = custom.open("level", "", &labels(&["a"]), Kind::Gauge).unwrap();
        level.move_by(&[], i64::MIN);
        level.move_by(&["".to_owned(), "beyond".to_owned()], -1);
        assert_eq!(level.series().len(), 1, "a missing value is empty, one beyond is left out");
        assert_eq!(custom.dropped(), 5);
        level.set(&["ä".repeat(100)], 1);
        assert_eq!(level.series()[1].0[0].len(), 128);
    }

    #[test]
    fn values_of_labels_have_no_control_characters() {
        let custom = Custom::default();
        let family = custom.open("a", "", &labels(&["of"]), Kind::Counter).unwrap();
        family.count(&["a\0b\rc\u{1b}d\ne\u{7f}".to_owned()], 1);
        family.count(&["a b c d\ne ".to_owned()], 1);
        let series = family.series();
        assert_eq!(series.len(), 1, "{series:?}");
        assert_eq!(*series[0].0[0], *"a b c d\ne ");
    }
}
