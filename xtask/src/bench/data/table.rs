//! The tables of `bench data`.

/// How a figure is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    Higher,
    Lower,
}

/// What is measured.
pub(super) struct Figure {
    name: &'static str,
    unit: &'static str,
    better: Better,
}

const fn figure(name: &'static str, unit: &'static str, better: Better) -> Figure {
    Figure { name, unit, better }
}

/// All figures, in the order of a [`Sample`]. The last four say where the processor's time goes.
pub(super) const FIGURES: [Figure; 11] = [
    figure("TCP to it", "Gbit/s", Better::Higher),
    figure("TCP from it", "Gbit/s", Better::Higher),
    figure("UDP round trip, p50", "µs", Better::Lower),
    figure("UDP round trip, p99", "µs", Better::Lower),
    figure("TCP round trip, p50", "µs", Better::Lower),
    figure("TCP round trip, p99", "µs", Better::Lower),
    figure("small packets received", "/s", Better::Higher),
    figure("sending thread", "ms/GB", Better::Lower),
    figure("receiving thread", "ms/GB", Better::Lower),
    figure("softirq, whole machine", "ms/GB", Better::Lower),
    figure("busy, whole machine", "ms/GB", Better::Lower),
];

/// One measurement of all figures.
pub(super) type Sample = [f64; FIGURES.len()];

/// A contender, and one sample for each round, or none if it cannot be reached.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) samples: Vec<Sample>,
}

impl Column {
    pub(super) fn new(name: &'static str) -> Self {
        Column { name, samples: Vec::new() }
    }

    /// A figure's ratio to the host's own, for each round.
    fn ratios(&self, figure: usize, host: &Column) -> Vec<f64> {
        let both = self.samples.iter().zip(&host.samples);
        both.map(|(own, host)| own[figure] / host[figure]).filter(|ratio| ratio.is_finite()).collect()
    }
}

/// The share by which a figure may be worse than the host's own.
const AIM: f64 = 0.03;

/// A median, and the bounds that a quarter of the values are below and above.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// `None` if there are no values.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let median = f64::midpoint(values[last / 2], values[last - last / 2]);
        Some(Spread { median, low: values[last / 4], high: values[last - last / 4] })
    }

    /// With so many digits behind the point.
    pub(super) fn shown(self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.low, self.high)
    }
}

/// A cell: the spread, or a dash.
pub(super) fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| spread.shown(digits))
}

/// Prints one table. The first column is the host itself.
pub(super) fn print(origin: &str, columns: &[Column]) {
    let [host, others @ ..] = columns else { return };
    print!("\n| from {origin} | {} |", host.name);
    for column in others {
        print!(" {} |", column.name);
    }
    println!("\n|---|---|{}", "---|".repeat(others.len()));
    for (at, figure) in FIGURES.iter().enumerate() {
        let own = Spread::of(host.samples.iter().map(|sample| sample[at]).collect());
        let own = own.map_or_else(|| "–".to_owned(), |spread| absolute(spread.median));
        print!("| {} | {own} {} |", figure.name, figure.unit);
        for column in others {
            if column.samples.is_empty() {
                print!(" unreachable |");
            } else {
                print!(" {} |", cell(Spread::of(column.ratios(at, host)), 2));
            }
        }
        println!();
    }
    println!();
    for column in others.iter().filter(|column| !column.samples.is_empty()) {
        let missed = FIGURES.iter().enumerate().filter_map(|(at, figure)| {
            let spread = Spread::of(column.ratios(at, host))?;
            is_missed(figure.better, spread).then(|| format!("{} {:.2}", figure.name, spread.median))
        });
        match missed.collect::<Vec<_>>().join(", ") {
            missed if missed.is_empty() => {
                println!("- {}: nothing is worse by more than 3 % in most rounds", column.name);
            }
            missed => println!("- {}: worse by more than 3 % in most rounds: {missed}", column.name),
        }
    }
}

/// Whether a figure misses the aim in three of four rounds. What does so by its median alone may be chance.
fn is_missed(better: Better, ratio: Spread) -> bool {
    match better {
        Better::Higher => ratio.high < 1.0 - AIM,
        Better::Lower => ratio.low > 1.0 + AIM,
    }
}

/// A number with two to four significant digits.
fn absolute(value: f64) -> String {
    let digits = match value {
        ..10.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_median_and_leaves_a_quarter_out_at_either_end() {
        let spread = Spread::of(vec![9.0, 1.0, 5.0, 3.0, 7.0]).unwrap();
        assert_eq!(spread, Spread { median: 5.0, low: 3.0, high: 7.0 });
        assert_eq!(Spread::of(vec![2.0, 1.0]).unwrap(), Spread { median: 1.5, low: 1.0, high: 2.0 });
        assert_eq!(Spread::of(vec![2.0]).unwrap().shown(1), "2.0 (2.0–2.0)");
        assert_eq!(cell(Spread::of(Vec::new()), 1), "–");
    }

    #[test]
    fn rates_are_missed_from_below_and_times_from_above_by_most_rounds() {
        let ratio = |low: f64, high: f64| Spread { median: f64::midpoint(low, high), low, high };
        assert!(is_missed(Better::Higher, ratio(0.9, 0.96)) && !is_missed(Better::Higher, ratio(1.4, 1.5)));
        assert!(is_missed(Better::Lower, ratio(1.04, 1.1)) && !is_missed(Better::Lower, ratio(0.4, 0.5)));
        assert!(!is_missed(Better::Higher, ratio(0.5, 0.98)) && !is_missed(Better::Lower, ratio(1.02, 9.0)));
    }

    #[test]
    fn ratios_are_taken_round_by_round_and_only_where_the_host_has_a_figure() {
        let column = |values: &[f64]| Column {
            name: "",
            samples: values.iter().map(|value| [*value; FIGURES.len()]).collect(),
        };
        assert_eq!(column(&[2.0, 6.0, 1.0]).ratios(0, &column(&[1.0, 2.0, 0.0])), [2.0, 3.0]);
    }
}
