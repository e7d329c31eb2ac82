//! What keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Model, Pane};

/// Rows that a page moves by.
const PAGE: isize = 10;

/// Longest filter, in characters.
const FILTER: usize = 100;

/// The keys, as the last line tells them; the first ones are those that matter most.
pub(super) const HELP: &str =
    "q quit  Tab pane  \u{2191}\u{2193} move  Enter open  Esc back  s sort  r reverse  / filter";

/// A key was pressed.
pub(super) fn press(model: &mut Model, key: KeyEvent) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        if let KeyCode::Char('c' | 'd') = key.code {
            model.quit = true;
        }
        return;
    }
    if model.typing { typed(model, key.code) } else { chosen(model, key.code) }
}

fn typed(model: &mut Model, key: KeyCode) {
    match key {
        KeyCode::Enter => model.typing = false,
        KeyCode::Esc => {
            model.filter.clear();
            model.typing = false;
        }
        KeyCode::Backspace => _ = model.filter.pop(),
        KeyCode::Char(c) if model.filter.chars().count() < FILTER => model.filter.push(c),
        _ => {}
    }
}

fn chosen(model: &mut Model, key: KeyCode) {
    match key {
        KeyCode::Char('q') => model.quit = true,
        KeyCode::Tab => model.next_pane(),
        KeyCode::Char('1') => model.show(Pane::Clients),
        KeyCode::Char('2') => model.show(Pane::Topics),
        KeyCode::Char('3') => model.show(Pane::Groups),
        KeyCode::Down | KeyCode::Char('j') => model.move_by(1),
        KeyCode::Up | KeyCode::Char('k') => model.move_by(-1),
        KeyCode::PageDown => model.move_by(PAGE),
        KeyCode::PageUp => model.move_by(-PAGE),
        KeyCode::Home => model.move_by(isize::MIN),
        KeyCode::End => model.move_by(isize::MAX),
        KeyCode::Enter => model.enter(),
        KeyCode::Esc | KeyCode::Backspace => model.back(),
        KeyCode::Char('s') => model.sort_by_next(),
        KeyCode::Char('r') => model.reverse(),
        KeyCode::Char('/') => model.typing = true,
        _ => {}
    }
}
