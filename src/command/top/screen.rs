//! The terminal: what is drawn where, and what keys do. Knows neither a gateway nor a clock.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Styled, Span};
use ratatui::widgets::Paragraph;

use super::frame::Frame;
use super::grid::{Line, Tone};
use super::page::{self, PAGES};

/// Lines a page key goes.
const LEAP: usize = 10;
/// Columns an arrow key goes.
const STEP: usize = 8;
const KEYS: &str = "q quit  Tab/1-6 page  arrows scroll  p pause";

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// Whether colours are wanted. Without them tones are shown by weight.
    colour: bool,
    /// The newest picture; none before the first answer.
    frame: Option<Frame>,
    /// Why there is no newer one.
    trouble: Option<String>,
    page: usize,
    down: usize,
    right: usize,
    paused: bool,
}

impl Screen {
    /// Nothing yet.
    pub(super) fn new(colour: bool) -> Self {
        Self { colour, ..Self::default() }
    }

    /// A picture arrived. While paused the old one stays.
    pub(super) fn show(&mut self, frame: Frame) {
        self.trouble = None;
        if !self.paused {
            self.frame = Some(frame);
        }
    }

    /// There is no picture, and why.
    pub(super) fn complain(&mut self, trouble: String) {
        self.trouble = Some(trouble);
    }

    /// A key was pressed. Returns whether to go on.
    pub(super) fn press(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return true;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Tab => self.turn_to((self.page + 1) % PAGES.len()),
            KeyCode::BackTab => self.turn_to((self.page + PAGES.len() - 1) % PAGES.len()),
            KeyCode::Char(digit @ '1'..='6') => self.turn_to(digit as usize - '1' as usize),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Down => self.down += 1,
            KeyCode::Up => self.down = self.down.saturating_sub(1),
            KeyCode::PageDown => self.down += LEAP,
            KeyCode::PageUp => self.down = self.down.saturating_sub(LEAP),
            KeyCode::Right => self.right += STEP,
            KeyCode::Left => self.right = self.right.saturating_sub(STEP),
            KeyCode::Home => (self.down, self.right) = (0, 0),
            _ => {}
        }
        true
    }

    fn turn_to(&mut self, page: usize) {
        (self.page, self.down, self.right) = (page, 0, 0);
    }

    /// Draws everything. On a low terminal the page goes first, then the banner, then the rest.
    pub(super) fn draw(&mut self, target: &mut ratatui::Frame<'_>) {
        let area = target.area();
        let row = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
        let (banner, tabs, foot) = match area.height {
            0 => return,
            1..=2 => (0, 0, 0),
            3..=4 => (1, 0, 1),
            _ => (1, 2, 1),
        };
        if banner > 0 {
            target.render_widget(Paragraph::new(self.banner(area.width)), row(0, 1));
            target.render_widget(Paragraph::new(self.foot()), row(area.height - 1, 1));
        }
        if tabs > 0 {
            target.render_widget(Paragraph::new(self.tabs()), row(1, 1));
        }
        let height = area.height - banner - tabs - foot;
        let lines = self.frame.as_ref().map(PAGES[self.page].1).unwrap_or_default();
        // Not beyond the last line or column, however often the key was pressed.
        let widest = lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        self.down = self.down.min(lines.len().saturating_sub(height.into()));
        self.right = self.right.min(widest.saturating_sub(area.width.into()));
        let shown: Vec<Styled<'_>> =
            lines.iter().skip(self.down).map(|line| self.styled(line, self.right, area.width)).collect();
        target.render_widget(Paragraph::new(shown), row(banner + tabs, height));
    }

    fn banner(&self, width: u16) -> Styled<'_> {
        match &self.frame {
            Some(frame) => self.styled(&page::banner(frame), 0, width),
            None => Styled::raw("tidegate top"),
        }
    }

    fn tabs(&self) -> Styled<'_> {
        let name = |(number, (name, _)): (usize, &(&str, _))| {
            let style = if number == self.page { Modifier::REVERSED.into() } else { Style::new() };
            [Span::styled(format!(" {} {name} ", number + 1), style), Span::raw(" ")]
        };
        Styled::from_iter(PAGES.iter().enumerate().flat_map(name))
    }

    fn foot(&self) -> Styled<'_> {
        match &self.trouble {
            Some(trouble) => Styled::styled(trouble.as_str(), self.style(Tone::Bad)),
            None if self.paused => Styled::styled("paused: p goes on", self.style(Tone::Warn)),
            None => Styled::raw(KEYS),
        }
    }

    fn styled(&self, line: &Line, skip: usize, width: u16) -> Styled<'static> {
        Styled::styled(line.window(skip, width.into()), self.style(line.tone))
    }

    fn style(&self, tone: Tone) -> Style {
        let (colour, modifier) = match tone {
            Tone::Plain => return Style::new(),
            Tone::Head => return Modifier::BOLD.into(),
            Tone::Warn => (Color::Yellow, Modifier::BOLD),
            Tone::Bad => (Color::Red, Modifier::BOLD | Modifier::REVERSED),
        };
        if self.colour { colour.into() } else { modifier.into() }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::fixture::document;
    use super::*;

    fn screen() -> Screen {
        let mut screen = Screen::new(true);
        screen.show(Frame::between(Some(&document(60_000)), &document(61_000)));
        screen
    }

    fn terminal(width: u16, height: u16) -> Terminal<TestBackend> {
        Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory")
    }

    /// The text on a terminal of a size, without spaces at the ends of lines.
    fn text(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = terminal(width, height);
        terminal.draw(|target| screen.draw(target)).expect("drawn");
        let cells = terminal.backend().buffer().content();
        let lines = cells.chunks(width.into()).map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>());
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    fn press(screen: &mut Screen, code: KeyCode) -> bool {
        screen.press(KeyEvent::from(code))
    }

    fn press_often(screen: &mut Screen, times: usize, code: KeyCode) {
        for _ in 0..times {
            assert!(press(screen, code));
        }
    }

    #[test]
    fn the_overview_as_it_stands() {
        let expected = "\
tidegate 9.9.9  serve  generation 3  up 00:01:01  over 1.0 s
 1 overview   2 cores   3 drops   4 tcp   5 http   6 backends

PORT  LINK  RX PPS  RX BIT/S  TX PPS  TX BIT/S  RX ERR/S  TX ERR/S  COPIES/S  ERRORS  DRIVER
wan   up     1.00M     1.00G    500k      500M         3         0         9     183  af_xdp

CPU  LOAD %  CYCLES/PKT  RX PPS  TX PPS  TURNS/S  SLEEPS/S  HANDOVER/S  FREE FRAMES  GENERATION  RESTARTS
  2    25.0         600   1.00M    500k    50.0k         7          20         1000           3         0

TCP   100 open (30 live, 70 at rest), 5 half-open, 200 new/s
HTTP  1.00k requests/s, 12 under way, 2 5xx/s, p50 100 us, p99 500 us

DROPPED BECAUSE  PACKETS/S  TOTAL
ttl_exceeded            40   2440
no_route                10    610

q quit  Tab/1-6 page  arrows scroll  p pause";
        assert_eq!(text(&mut screen(), 120, 17).join("\n"), expected);
    }

    #[test]
    fn every_page_has_its_key() {
        let firsts = ["PORT", "CPU", "DROPPED", "TCP", "HTTP", "CLUSTER"];
        let mut screen = screen();
        for (key, first) in ('1'..='6').zip(firsts) {
            assert!(press(&mut screen, KeyCode::Char(key)));
            let by_key = text(&mut screen, 100, 30);
            assert!(by_key[3].trim_start().starts_with(first), "{by_key:?}");
            press(&mut screen, KeyCode::Char('1'));
            press_often(&mut screen, PAGES.len() * 2 + (key as usize - '1' as usize), KeyCode::Tab);
            assert_eq!(text(&mut screen, 100, 30)[3], by_key[3]);
        }
        press(&mut screen, KeyCode::BackTab);
        assert!(text(&mut screen, 100, 30)[3].starts_with("HTTP"));
    }

    #[test]
    fn pages_two_and_six_as_they_stand() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Char('2'));
        let expected = [
            "CPU  STAGE  PACKETS/S  CYCLES/PKT  SHARE %",
            "  2  rx         1.00M          60     10.0",
            "  2  tcp        1.00M         300     50.0",
        ];
        assert_eq!(text(&mut screen, 80, 10)[6..9], expected);
        press(&mut screen, KeyCode::Char('6'));
        let expected = [
            "CLUSTER  ENDPOINT     STATE  REQUESTS/S  ACTIVE  FAILED/S  CONNECTS/S  REFUSED/S  FAILED  REFUSED",
            "pool     10.0.0.1:80  UP          1.00k      12         0          50          0       0        0",
            "pool     10.0.0.2:80  DOWN            0       0         0           0          2       0      122",
        ];
        assert_eq!(text(&mut screen, 100, 10)[3..6], expected);
    }

    #[test]
    fn no_number_is_cut_at_the_edge() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Char('2'));
        let head = "CPU  LOAD %  CYCLES/PKT  RX PPS  TX PPS  TURNS/S  SLEEPS/S  HANDOVER/S";
        let row = "  2    25.0         600   1.00M    500k    50.0k         7          20";
        // FREE FRAMES would begin before column 80 and end after it.
        assert_eq!(text(&mut screen, 80, 10)[3..5], [format!("{head:<79}>"), row.to_owned()]);
        // One column less than HANDOVER/S and the mark need.
        let narrow = text(&mut screen, 70, 10);
        assert!(narrow[3].trim_end_matches(['>', ' ']).ends_with("SLEEPS/S") && narrow[4].ends_with('7'), "{narrow:?}");
        press(&mut screen, KeyCode::Right);
        let scrolled = text(&mut screen, 40, 10);
        assert!(scrolled[3].trim_start().starts_with("CYCLES/PKT"), "nor at the other: {scrolled:?}");
        assert!(scrolled[4].trim_start().starts_with("600"), "{scrolled:?}");
        let words = text(&mut screen, 20, 10);
        assert!(words[0].chars().count() == 20 && words[0].ends_with('>'), "{words:?}");
    }

    #[test]
    fn any_size_is_drawn_and_scrolled_to_its_ends() {
        let mut screen = screen();
        for (width, height) in [(1, 1), (3, 2), (10, 3), (40, 4), (80, 5), (500, 200)] {
            for page in '1'..='6' {
                press(&mut screen, KeyCode::Char(page));
                press_often(&mut screen, 50, KeyCode::PageDown);
                press_often(&mut screen, 50, KeyCode::Right);
                text(&mut screen, width, height);
            }
        }
        press(&mut screen, KeyCode::Char('2'));
        press_often(&mut screen, 50, KeyCode::Down);
        assert!(text(&mut screen, 80, 6)[3].starts_with("  2  rx"), "the last lines stay");
        press_often(&mut screen, 50, KeyCode::Right);
        press(&mut screen, KeyCode::PageUp);
        assert!(text(&mut screen, 30, 6)[3].ends_with("RESTARTS"), "{:?}", text(&mut screen, 30, 6));
        press(&mut screen, KeyCode::Home);
        assert!(text(&mut screen, 30, 6)[3].starts_with("CPU  LOAD"));
    }

    #[test]
    fn trouble_is_told_and_the_last_picture_stays() {
        let mut first = Screen::default();
        first.complain("no gateway answers".to_owned());
        assert_eq!(
            text(&mut first, 40, 5),
            ["tidegate top", " 1 overview   2 cores   3 drops   4 tcp", "", "", "no gateway answers"]
        );
        let mut screen = screen();
        screen.complain("no gateway answers".to_owned());
        let shown = text(&mut screen, 100, 20);
        assert_eq!((shown[3].starts_with("PORT"), shown[19].as_str()), (true, "no gateway answers"));
        screen.show(Frame::between(Some(&document(61_000)), &document(1_000)));
        let shown = text(&mut screen, 100, 20);
        assert!(shown[0].ends_with("restarted") && shown[19].starts_with("q quit"), "{shown:?}");
    }

    #[test]
    fn a_pause_keeps_the_picture() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Char('p'));
        screen.show(Frame::between(None, &document(90_000)));
        let shown = text(&mut screen, 100, 20);
        assert!(shown[0].contains("00:01:01") && shown[19].starts_with("paused"), "{shown:?}");
        press(&mut screen, KeyCode::Char('p'));
        screen.show(Frame::between(None, &document(90_000)));
        assert!(text(&mut screen, 100, 20)[0].contains("00:01:30"));
    }

    #[test]
    fn keys_that_end_it() {
        let mut screen = screen();
        assert!(!press(&mut screen, KeyCode::Char('q')) && !press(&mut screen, KeyCode::Esc));
        assert!(!screen.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(press(&mut screen, KeyCode::Char('c')) && press(&mut screen, KeyCode::Char('z')));
    }

    #[test]
    fn without_colours_there_are_none_and_bad_still_differs() {
        for colour in [true, false] {
            let mut screen = Screen { colour, ..screen() };
            press(&mut screen, KeyCode::Char('6'));
            let mut terminal = terminal(100, 10);
            terminal.draw(|target| screen.draw(target)).expect("drawn");
            let buffer = terminal.backend().buffer();
            let coloured = buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
            assert_eq!(coloured, colour);
            // The endpoint that is down, beside the one that is up.
            assert_ne!(buffer[(0, 5)].style(), buffer[(0, 4)].style());
        }
    }
}
