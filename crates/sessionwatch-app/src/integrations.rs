//! What other programs need to work with the watch: rules for Prometheus, a dashboard for Grafana.
//!
//! Both are made from the list of metrics and the list of checks, so that neither names what there is not.

pub mod grafana;
pub mod prometheus_rules;

use crate::metric_names::{MetricDesc, TARGET_LEADER};

/// What the leader of each target says of it, the highest where two say something while they take turns: one that no
/// longer leads goes on saying what it saw last.
fn leader_query(metric: &MetricDesc, filter: &str, labels: &str) -> String {
    let leader = TARGET_LEADER.name;
    let name = metric.name;
    format!("max by ({labels}) ({name}{filter} and on (job, instance, target) {leader} == 1)")
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::metric_names;

    /// Words of PromQL that are no metrics.
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

    /// Words and signs of an expression, without what stands in quotes.
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

    /// The names in an expression, without lists of labels, filters, ranges and numbers.
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

    /// The names in an expression that are not those of metrics.
    pub(crate) fn foreign(expr: &str) -> Vec<String> {
        let mut names = metrics_of(expr);
        assert!(!names.is_empty(), "{expr} is about nothing");
        names.retain(|name| metric_names::ALL.iter().all(|metric| !metric.owns_series(name)));
        names
    }

    #[test]
    fn the_names_in_an_expression_are_found() {
        let expr =
            r#"max by (job, kind) (a_1{x=~"b(c|d)"} and on (e) f == 1) / rate(g_total[5m]) > 3e2 unless h"#;
        assert_eq!(metrics_of(expr), ["a_1", "f", "g_total", "h"]);
        assert_eq!(
            foreign("sessionwatch_target_up + sessionwatch_target_down"),
            ["sessionwatch_target_down"]
        );
    }
}
