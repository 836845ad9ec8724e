//! Integrations with other programs: Prometheus rules and a Grafana dashboard.
//!
//! Both are generated from the lists of metrics and checks, so that they cannot refer to a name that does not exist.

pub mod grafana;
pub mod prometheus_rules;

use crate::metric_names::{MetricDesc, TARGET_LEADER};

/// Returns a PromQL query for a metric as exposed by the current leader of each target. `max` picks one value while two
/// daemons change over; without the join, a former leader's last values would stay visible until they turn stale.
fn leader_query(metric: &MetricDesc, filter: &str, labels: &str) -> String {
    let leader = TARGET_LEADER.name;
    let name = metric.name;
    // `job` and `instance` keep two installations apart that monitor targets of the same name.
    format!("max by ({labels}) ({name}{filter} and on (job, instance, target) {leader} == 1)")
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::metric_names;

    /// PromQL keywords and functions.
    const WORDS: [&str; 17] = [
        "absent",
        "and",
        "bool",
        "by",
        "clamp_min",
        "histogram_quantile",
        "increase",
        "max",
        "min",
        "on",
        "or",
        "rate",
        "sum",
        "time",
        "unless",
        "vector",
        "without",
    ];

    /// Splits an expression into words and symbols, without quoted strings.
    fn tokens(expr: &str) -> Vec<String> {
        let mut tokens: Vec<String> = vec![];
        for part in expr.split('"').step_by(2) {
            let mut open = false;
            for character in part.chars() {
                let word = character.is_alphanumeric() || "_:.".contains(character);
                match tokens.last_mut().filter(|_| word && open) {
                    Some(token) => token.push(character),
                    None => tokens.push(character.to_string()),
                }
                open = word;
            }
        }
        tokens.retain(|token| token != " ");
        tokens
    }

    /// Returns the metric names in an expression.
    pub(crate) fn metrics_of(expr: &str) -> Vec<String> {
        let (mut names, mut closing, mut before) = (vec![], None, String::new());
        for token in tokens(expr) {
            closing = match (closing, token.as_str()) {
                (Some(end), token) => Some(end).filter(|end| *end != token),
                (None, "{") => Some("}"),
                (None, "[") => Some("]"),
                (None, "(") if ["by", "on", "without"].contains(&before.as_str()) => Some(")"),
                (None, word) => {
                    if word.starts_with(|first: char| first.is_alphabetic()) && !WORDS.contains(&word) {
                        names.push(word.to_owned());
                    }
                    None
                }
            };
            before = token;
        }
        names
    }

    /// Returns the names in an expression that are not metrics of sessionwatch.
    pub(crate) fn foreign(expr: &str) -> Vec<String> {
        let mut names = metrics_of(expr);
        assert!(!names.is_empty(), "{expr} contains no metric");
        names.retain(|name| metric_names::ALL.iter().all(|metric| !metric.owns_series(name)));
        names
    }

    #[test]
    fn metric_names_are_found_in_expressions() {
        let expr =
            r#"max by (job, kind) (a_1{x=~"b(c|d)"} and on (e) f == 1) / rate(g_total[5m]) > 3e2 unless h"#;
        assert_eq!(metrics_of(expr), ["a_1", "f", "g_total", "h"]);
        assert_eq!(
            foreign("sessionwatch_target_up + sessionwatch_target_down"),
            ["sessionwatch_target_down"]
        );
    }
}
