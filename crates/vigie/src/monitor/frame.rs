//! What stands on the screen: as much as fits, the most important first.

use std::collections::VecDeque;

use crate::{
    here,
    paint::{self, Paint},
    status::View,
};

/// At least so many lines of what passes are shown, before streams are left out.
const FEWEST_LINES: usize = 4;

/// All that is known now.
pub(super) struct Frame<'a> {
    pub view: &'a View,
    /// Events, actions and outcomes in a second; `None` while nobody listens.
    pub rates: Option<[f64; 3]>,
    /// What has passed, the newest last.
    pub lines: &'a VecDeque<String>,
    pub paint: Paint,
}

impl Frame<'_> {
    /// Lines of at most `columns`, and at most `rows` of them.
    pub(super) fn render(&self, (columns, rows): (usize, usize)) -> String {
        let paint = self.paint;
        let mut lines = vec![paint.faint(&self.view.head()), String::new()];
        for problem in self.view.problems() {
            lines.push(paint.bad(&format!("✗ {problem}")));
        }
        for warning in self.view.warnings() {
            lines.push(paint.warn(&format!("! {warning}")));
        }
        if lines.len() > 2 {
            lines.push(String::new());
        }
        if self.view.services.is_empty() {
            lines.extend(here::render(self.view.parts(), paint).lines().map(str::to_owned));
        } else {
            lines.extend(self.view.services_table(paint).lines().map(str::to_owned));
        }
        let streams: Vec<String> = self.view.streams_table(paint).lines().map(str::to_owned).collect();
        if !self.view.streams.is_empty() && lines.len() + 1 + streams.len() + 2 + FEWEST_LINES <= rows {
            lines.push(String::new());
            lines.extend(streams);
        }
        lines.push(String::new());
        let passing = self.rates.map_or_else(
            || "PASSING  nobody listens yet; q ends this".to_owned(),
            |[events, actions, outcomes]| {
                format!("PASSING  {events:.1} events/s  {actions:.1} actions/s  {outcomes:.1} outcomes/s; q ends this")
            },
        );
        lines.push(paint.faint(&passing));
        let room = rows.saturating_sub(lines.len());
        let newest = self.lines.iter().skip(self.lines.len().saturating_sub(room)).cloned();
        lines.extend(newest);
        let shown: Vec<String> = lines.iter().take(rows).map(|line| paint::fit(line, columns)).collect();
        shown.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::view;

    #[test]
    fn the_most_important_is_shown_first_and_as_much_as_fits() {
        let view = view("twitch: login refused", 2);
        let lines: VecDeque<String> = (1..=9).map(|number| format!("line {number}")).collect();
        let mut frame =
            Frame { view: &view, rates: Some([12.0, 1.5, 0.0]), lines: &lines, paint: Paint::plain() };
        let high = frame.render((100, 25));
        frame.rates = None;
        // A line that is cut ends with the end of its colours.
        let low = frame.render((60, 13)).replace("\x1b[0m", "");
        insta::assert_snapshot!(high.replace("\x1b[0m", "") + "\n----\n" + &low);
    }
}
