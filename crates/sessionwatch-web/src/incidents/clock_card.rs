//! The clock: the time left to contain an incident, or the time it took.

use jiff::SignedDuration;
use maud::{Markup, html};
use sessionwatch_app::app::incident_views::ContainmentClock;

use super::{page::IncidentPage, wording::format_span};

impl IncidentPage<'_> {
    pub(super) fn render_clock_card(&self) -> Markup {
        let severity = self.case.incident.severity;
        let given = severity.containment_deadline();
        let target = format!("{}: {}", severity.name(), format_span(given));
        let (label, value, used, class) = match self.clock {
            ContainmentClock::Running { used, is_reopened } => {
                let again = if is_reopened { " again" } else { "" };
                let label = if used > given { "Overdue" } else { "Time left to contain" };
                (
                    format!("{label}{again} ({target})"),
                    format_span(given - used),
                    used,
                    running_class(used, given),
                )
            }
            ContainmentClock::Contained { after } => {
                let class = if after > given { "m-warn" } else { "m-ok" };
                (format!("Contained after ({target})"), format_span(after), after, class)
            }
            ContainmentClock::NotContained => (
                format!("Closed without revoking sessions ({target})"),
                "–".into(),
                SignedDuration::ZERO,
                "m-na",
            ),
        };
        let is_overdue = class == "m-bad";
        html! {
            section.card.clock-card aria-label="Clock" {
                div.card-body.stack-s {
                    div {
                        p.muted { (label) }
                        div.clock.overdue[is_overdue] { (value) }
                    }
                    svg.meter viewBox="0 0 100 6" preserveAspectRatio="none" role="img"
                        aria-label={ (format_span(used)) " of " (format_span(given)) " used" } {
                        rect.m-track width="100" height="6" {}
                        rect class=(class) width=(share_percent(used, given)) height="6" {}
                    }
                }
            }
        }
    }
}

/// Returns the class of a running clock: calm at first, a warning in the last quarter, red once it is overdue.
fn running_class(used: SignedDuration, given: SignedDuration) -> &'static str {
    if used > given {
        "m-bad"
    } else if used * 4 > given * 3 {
        "m-warn"
    } else {
        "m-fill"
    }
}

fn share_percent(used: SignedDuration, given: SignedDuration) -> i64 {
    (used.as_secs().saturating_mul(100) / given.as_secs().max(1)).clamp(0, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_turns_red_only_when_it_is_overdue() {
        let minutes = SignedDuration::from_mins;
        let classes = [12, 46, 61].map(|used| running_class(minutes(used), minutes(60)));
        assert_eq!(classes, ["m-fill", "m-warn", "m-bad"]);
        assert_eq!(share_percent(minutes(12), minutes(60)), 20);
        assert_eq!(share_percent(minutes(200), minutes(60)), 100);
    }
}
