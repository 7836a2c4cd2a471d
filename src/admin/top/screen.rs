//! The picture on the terminal and the keys that change it.

use std::cmp::Ordering;
use std::io;
use std::time::Duration;

use base::Timestamp;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as Cells, Table, TableState};
use ratatui::{DefaultTerminal, Frame};

use super::Server;
use super::details::details;
use super::rates::{Moment, Row, View};
use super::words::{bytes, count, seconds, share, uptime};
use crate::cli::TopArgs;
use crate::limits::TOP_DETAIL_LINES;
use crate::{Exit, Failure};

const KEYS: &str = "q quit   p pause   s sort   up/down shard   ? help";

const HELP: &[&str] = &[
    "q, Esc, Ctrl-C  quit             p  pause and go on",
    "up, down, k, j  another shard    s  sort: shard, busy, commits, connections",
    "?               this help        Home, End  first shard, all shards",
    "",
    "busy      processor time of the shard's thread",
    "i/d/b     time of tasks by queue: interactive, delivery, background",
    "msg/s     messages taken;  deliv/s  copies put into mailboxes",
    "commit/s  flushes of the log;  tx  transactions in each",
    "flush     half of the flushes, and 99 of 100, took no longer",
    "inbox     jobs of other shards that wait;  conns  open connections",
];

/// What the table is sorted by; the largest first, but for the shards' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Shard,
    Busy,
    Commits,
    Connections,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::Shard => Self::Busy,
            Self::Busy => Self::Commits,
            Self::Commits => Self::Connections,
            Self::Connections => Self::Shard,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::Busy => "busy share",
            Self::Commits => "commits",
            Self::Connections => "connections",
        }
    }

    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let by = match self {
            Self::Shard => Ordering::Equal,
            Self::Busy => b.busy.total_cmp(&a.busy),
            Self::Commits => b.commits.total_cmp(&a.commits),
            Self::Connections => b.connections().total_cmp(&a.connections()),
        };
        by.then(a.shard.cmp(&b.shard))
    }
}

/// What is shown now.
pub(super) struct Screen {
    view: View,
    /// Why there is nothing newer.
    problem: Option<String>,
    sort: Sort,
    /// The shard about which there are details; `None` is all of them.
    chosen: Option<u64>,
    is_paused: bool,
    is_help: bool,
    has_colour: bool,
    table: TableState,
}

/// What a key asks of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Draw,
    Quit,
}

impl Screen {
    /// Shows the server until somebody has seen enough.
    pub(super) fn run(args: &TopArgs, mut server: Server<'_>) -> Result<Exit, Failure> {
        let first = server.look()?;
        let broken = |error: io::Error| Failure::new(Exit::Io, format!("the terminal: {error}"));
        let mut terminal = ratatui::try_init().map_err(broken)?;
        let has_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut screen = Self::new(View::between(&first, &first), has_colour);
        let ended = screen.show(&mut terminal, args, &mut server, first);
        ratatui::restore();
        ended.map(|()| Exit::Done).map_err(broken)
    }

    fn new(view: View, has_colour: bool) -> Self {
        Self {
            view,
            problem: None,
            sort: Sort::Shard,
            chosen: None,
            is_paused: false,
            is_help: false,
            has_colour,
            table: TableState::default(),
        }
    }

    fn show(
        &mut self,
        terminal: &mut DefaultTerminal,
        args: &TopArgs,
        server: &mut Server<'_>,
        first: Moment,
    ) -> io::Result<()> {
        let interval = Duration::from_secs_f64(args.interval);
        let (mut last, mut left) = (first, args.count);
        let mut next = server.host.now() + interval;
        loop {
            terminal.draw(|frame| self.draw(frame))?;
            let now: Timestamp = server.host.now();
            if event::poll(next.since(now))? {
                if let Event::Key(key) = event::read()?
                    && self.key(key) == Asked::Quit
                {
                    return Ok(());
                }
                continue;
            }
            next = server.host.now() + interval;
            if self.is_paused {
                continue;
            }
            self.look(server, &mut last);
            left = left.map(|left| left - 1);
            if left == Some(0) {
                return terminal.draw(|frame| self.draw(frame)).map(|_| ());
            }
        }
    }

    fn look(&mut self, server: &mut Server<'_>, last: &mut Moment) {
        match server.look() {
            Ok(now) => {
                self.view = View::between(last, &now);
                self.problem = None;
                *last = now;
            }
            Err(failure) => self.problem = Some(failure.to_string()),
        }
    }

    fn key(&mut self, key: KeyEvent) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Draw;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Asked::Quit,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Asked::Quit,
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('?' | 'h') => self.is_help = !self.is_help,
            KeyCode::Up | KeyCode::Char('k') => self.choose(-1),
            KeyCode::Down | KeyCode::Char('j') => self.choose(1),
            KeyCode::Home => self.chosen = self.rows().first().and_then(|row| row.shard),
            KeyCode::End => self.chosen = None,
            _ => {}
        }
        Asked::Draw
    }

    /// The rows of the table: the shards in order, then all of them.
    fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.view.shards.iter().collect();
        rows.sort_by(|a, b| self.sort.compare(a, b));
        rows.push(&self.view.all);
        rows
    }

    fn place(&self) -> usize {
        let rows = self.rows();
        rows.iter().position(|row| row.shard == self.chosen).unwrap_or(rows.len() - 1)
    }

    fn choose(&mut self, by: isize) {
        let place = self.place().saturating_add_signed(by);
        let rows = self.rows();
        self.chosen = rows.get(place).map_or(self.chosen, |row| row.shard);
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = self.view.shards.len() as u16 + 2;
        let [head, table, about, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Max(rows),
            Constraint::Min(TOP_DETAIL_LINES),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        self.draw_table(frame, table);
        let lines: Vec<Line<'_>> = if self.is_help {
            HELP.iter().map(|line| Line::from(*line)).collect()
        } else {
            let rows = self.rows();
            details(rows[self.place()], self.accent())
        };
        let title = match (self.is_help, self.chosen) {
            (true, _) => "help".to_owned(),
            (false, Some(shard)) => format!("shard {shard}"),
            (false, None) => "all shards".to_owned(),
        };
        let title = Line::styled(format!("-- {title} "), self.accent());
        frame.render_widget(Paragraph::new([vec![Line::default(), title], lines].concat()), about);
        frame.render_widget(Paragraph::new(self.foot()), foot);
    }

    fn head(&self) -> Line<'static> {
        let View { version, up_s, cpu, resident_bytes, descriptors, pool_waiting, .. } = &self.view;
        let what = format!("angarium {version}");
        let rest = format!(
            "  up {}  cpu {}  memory {}  files {}  pool {}",
            uptime(*up_s),
            share(*cpu),
            bytes(*resident_bytes),
            count(*descriptors),
            count(*pool_waiting),
        );
        let pause = if self.is_paused { "  [paused]" } else { "" };
        Line::from(vec![
            Span::styled(what, Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(rest),
            Span::styled(pause, self.alarm()),
        ])
    }

    fn foot(&self) -> Line<'_> {
        match &self.problem {
            Some(problem) => Line::styled(problem.as_str(), self.alarm()),
            None => Line::styled(
                format!("{KEYS}   sorted by {}", self.sort.name()),
                Style::new().add_modifier(Modifier::DIM),
            ),
        }
    }

    fn draw_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let names = [
            "shard", "busy", "i/d/b %", "msg/s", "deliv/s", "commit/s", "tx", "flush 50", "99", "inbox",
            "conns",
        ];
        let widths = [5, 5, 9, 6, 7, 8, 5, 8, 6, 5, 6];
        let cells = self.rows().into_iter().map(|row| self.cells(row)).collect::<Vec<_>>();
        let head =
            Cells::new(names.map(|name| Cell::from(Line::from(name).right_aligned()))).style(self.accent());
        self.table.select(Some(self.place()));
        let table = Table::new(cells, widths.map(Constraint::Length))
            .header(head)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, area, &mut self.table);
    }

    fn cells(&self, row: &Row) -> Cells<'static> {
        let queues = row.queues.map(|time| format!("{:.0}", time * 100.0)).join("/");
        let texts = [
            row.shard.map_or_else(|| "all".to_owned(), |shard| shard.to_string()),
            share(row.busy),
            queues,
            count(row.messages),
            count(row.delivered),
            count(row.commits),
            row.commit_transactions.mean().map_or_else(|| "-".to_owned(), count),
            seconds(row.flush.quantile(0.5)),
            seconds(row.flush.quantile(0.99)),
            count(row.waiting),
            count(row.connections()),
        ];
        let is_full = row.shard.is_some() && row.busy > 0.9;
        let style = if is_full { self.alarm() } else { Style::new() };
        Cells::new(texts.map(|text| Cell::from(Line::from(text).right_aligned()))).style(style)
    }

    const fn accent(&self) -> Style {
        if self.has_colour { Style::new().fg(Color::Cyan) } else { Style::new().add_modifier(Modifier::BOLD) }
    }

    const fn alarm(&self) -> Style {
        if self.has_colour { Style::new().fg(Color::Red) } else { Style::new().add_modifier(Modifier::BOLD) }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn view(shards: u64) -> View {
        let shards: Vec<_> = (0..shards)
            .map(|shard| {
                json!({ "shard": shard, "clock_s": 5.0, "metrics": {
                    "angarium_connections": { "imap": { "no": shard, "yes": 1 } } } })
            })
            .collect();
        let moment = Moment::of(&json!({ "process": {}, "shards": shards }), Timestamp::from_s(1));
        View::between(&moment, &moment)
    }

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    fn press(screen: &mut Screen, code: KeyCode) -> Asked {
        screen.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn everything_fits_a_terminal_of_80_by_24() {
        let mut screen = Screen::new(view(2), false);
        let picture = drawn(&mut screen, 80, 24);
        for words in ["angarium", "commit/s", "conns", "-- all shards", "Memory", "Slow", "q quit"] {
            assert!(picture.contains(words), "{words}\n{picture}");
        }
        // Every row of the table and the last line of the details are whole.
        assert!(
            picture.lines().any(|line| line.contains(" all ") && line.trim_end_matches('"').ends_with('3')),
            "{picture}"
        );
        let mut many = Screen::new(view(64), false);
        let picture = drawn(&mut many, 80, 24);
        assert!(picture.contains("Slow") && picture.contains(" all "), "{picture}");
        drawn(&mut many, 20, 5);
    }

    #[test]
    fn keys_choose_sort_pause_help_and_quit() {
        let mut screen = Screen::new(view(3), false);
        assert_eq!(screen.chosen, None);
        press(&mut screen, KeyCode::Up);
        assert_eq!(screen.chosen, Some(2));
        press(&mut screen, KeyCode::Home);
        press(&mut screen, KeyCode::Up);
        assert_eq!(screen.chosen, Some(0));
        press(&mut screen, KeyCode::Down);
        assert_eq!(screen.chosen, Some(1));
        for _ in 0..5 {
            press(&mut screen, KeyCode::Down);
        }
        assert_eq!(screen.chosen, None, "all of them stand last");
        for _ in 0..3 {
            press(&mut screen, KeyCode::Char('s'));
        }
        assert_eq!(screen.rows()[0].shard, Some(2), "the most connections first");
        press(&mut screen, KeyCode::Char('p'));
        press(&mut screen, KeyCode::Char('?'));
        let picture = drawn(&mut screen, 80, 24);
        assert!(
            picture.contains("[paused]") && picture.contains("-- help") && picture.contains("quit"),
            "{picture}"
        );
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Asked::Quit);
        assert_eq!(press(&mut screen, KeyCode::Esc), Asked::Quit);
        assert_eq!(screen.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Asked::Quit);
        assert!(HELP.iter().all(|line| line.len() <= 80));
    }

    #[test]
    fn a_server_that_is_gone_is_said() {
        let mut screen = Screen::new(view(1), true);
        screen.problem = Some("no server answers".to_owned());
        assert!(drawn(&mut screen, 80, 24).contains("no server answers"));
    }
}
