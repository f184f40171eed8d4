#include "gui/theme.h"

#include <QApplication>
#include <QFontDatabase>
#include <QPalette>
#include <QStyle>
#include <QStyleFactory>

namespace orrery::gui {
namespace {

struct Look {
  ThemeChoice choice = ThemeChoice::system;
  bool system_dark = false;
};

Look& look() {
  static Look one;  // of the one application that a process has
  return one;
}

// What style sheets can say and palettes cannot. Sizes in pixels of a 96 dpi screen.
QString sheet(const Theme& t) {
  const auto c = [](const QColor& colour) { return colour.name(); };
  return QStringLiteral(R"(
QToolTip { color: %1; background: %2; border: 1px solid %3; padding: 4px; }
QFrame#card { background: %2; border: 1px solid %3; border-radius: 6px; }
QLabel#dim { color: %4; }
QLabel#title { font-size: 17px; font-weight: 600; }
QLabel#figure { font-size: 20px; font-weight: 600; }
QLabel#section { font-weight: 600; }
QLabel#good { color: %5; } QLabel#warn { color: %6; } QLabel#bad { color: %7; }
QListWidget#pages { border: none; background: %8; outline: none; padding: 6px 0; }
QListWidget#pages::item { padding: 0 14px; border-left: 3px solid transparent; color: %1; }
QListWidget#pages::item:hover { background: %2; }
QListWidget#pages::item:selected { background: %2; border-left: 3px solid %9; color: %1; font-weight: 600; }
QPushButton { color: %1; background: %2; border: 1px solid %3; border-radius: 4px; padding: 4px 10px; }
QPushButton:hover { border-color: %4; } QPushButton:focus { border-color: %9; } QPushButton:pressed { background: %8; } QPushButton:disabled { color: %10; }
QPushButton:default, QPushButton:checked { border-color: %9; }
QToolBar { border: none; spacing: 4px; padding: 3px 6px; background: %8; }
QStatusBar { background: %8; } QStatusBar::item { border: none; }
QSplitter::handle { background: %3; } QSplitter::handle:horizontal { width: 1px; } QSplitter::handle:vertical { height: 1px; }
QHeaderView::section { background: %8; color: %1; border: none; border-bottom: 1px solid %3; padding: 4px 8px; }
QTableView, QTreeView { border: 1px solid %3; gridline-color: %3; }
QScrollArea { border: none; }
QSlider#cursor::groove:horizontal { height: 3px; border-radius: 1px; background: %3; }
QSlider#cursor::handle:horizontal { width: 13px; margin: -6px 0; border: 1px solid %4; border-radius: 7px; background: %2; }
QSlider#cursor::handle:horizontal:focus { border-color: %9; }
QRadioButton::indicator { width: 12px; height: 12px; border: 1px solid %4; border-radius: 7px; background: %11; }
QRadioButton::indicator:checked { border-color: %9;
  background: qradialgradient(cx: 0.5, cy: 0.5, radius: 0.5, fx: 0.5, fy: 0.5, stop: 0 %9, stop: 0.5 %9, stop: 0.62 %11, stop: 1 %11); }
QRadioButton::indicator:focus { border-color: %9; } QRadioButton::indicator:disabled { border-color: %10; background: %8; }
QGroupBox { border: none; margin-top: 22px; font-weight: 600; } QGroupBox::title { subcontrol-origin: margin; left: 0; padding: 0; }
)")
      .arg(c(t.ink), c(t.raised), c(t.line), c(t.dim), c(t.good), c(t.warn), c(t.bad), c(t.panel), c(t.accent))
      .arg(c(t.faint), c(t.ground));
}

void apply() {
  const Theme& t = theme();
  qApp->setPalette(t.palette());
  qApp->setStyleSheet(sheet(t));
}

}  // namespace

QColor Theme::ink_on(const QColor& fill) const {
  const auto channel = [](int v) { return static_cast<std::uint8_t>(v); };
  return to_qt(view::ink_on({channel(fill.red()), channel(fill.green()), channel(fill.blue())}));
}

const Theme& Theme::light() {
  static const Theme one = [] {
    Theme t;
    t.ground = QColor(0xff, 0xff, 0xff), t.panel = QColor(0xf4, 0xf5, 0xf7), t.raised = QColor(0xff, 0xff, 0xff);
    t.ink = QColor(0x1b, 0x1f, 0x27), t.dim = QColor(0x5a, 0x62, 0x70), t.faint = QColor(0xa0, 0xa6, 0xb1);
    t.grid = QColor(0xe6, 0xe8, 0xec), t.line = QColor(0xd3, 0xd7, 0xde);
    t.accent = QColor(0x1f, 0x5f, 0xbf), t.on_accent = QColor(0xff, 0xff, 0xff);
    t.good = QColor(0x0b, 0x6e, 0x4f), t.warn = QColor(0x8a, 0x5a, 0x00), t.bad = QColor(0xb3, 0x26, 0x1e), t.critical = QColor(0xb0, 0x00, 0x4b);
    t.a = QColor(0x8a, 0x93, 0xa3), t.b = QColor(0x1f, 0x5f, 0xbf);
    return t;
  }();
  return one;
}

const Theme& Theme::dark_one() {
  static const Theme one = [] {
    Theme t;
    t.dark = true;
    t.ground = QColor(0x15, 0x18, 0x1e), t.panel = QColor(0x1c, 0x20, 0x28), t.raised = QColor(0x25, 0x2a, 0x34);
    t.ink = QColor(0xe7, 0xea, 0xf0), t.dim = QColor(0xa4, 0xad, 0xbb), t.faint = QColor(0x6a, 0x73, 0x82);
    t.grid = QColor(0x2a, 0x30, 0x3b), t.line = QColor(0x3a, 0x42, 0x50);
    t.accent = QColor(0x6c, 0xa8, 0xff), t.on_accent = QColor(0x0c, 0x12, 0x1c);
    t.good = QColor(0x5f, 0xd0, 0xa2), t.warn = QColor(0xf0, 0xb8, 0x5a), t.bad = QColor(0xff, 0x8a, 0x80), t.critical = QColor(0xff, 0x6f, 0xa3);
    t.a = QColor(0x7b, 0x86, 0x98), t.b = QColor(0x6c, 0xa8, 0xff);
    return t;
  }();
  return one;
}

QPalette Theme::palette() const {
  QPalette p;
  p.setColor(QPalette::Window, panel);
  p.setColor(QPalette::WindowText, ink);
  p.setColor(QPalette::Base, ground);
  p.setColor(QPalette::AlternateBase, panel);
  p.setColor(QPalette::Text, ink);
  p.setColor(QPalette::PlaceholderText, dim);
  p.setColor(QPalette::Button, raised);
  p.setColor(QPalette::ButtonText, ink);
  p.setColor(QPalette::BrightText, bad);
  p.setColor(QPalette::ToolTipBase, raised);
  p.setColor(QPalette::ToolTipText, ink);
  p.setColor(QPalette::Highlight, accent);
  p.setColor(QPalette::HighlightedText, on_accent);
  p.setColor(QPalette::Link, accent);
  p.setColor(QPalette::Light, raised.lighter(120));
  p.setColor(QPalette::Midlight, line);
  p.setColor(QPalette::Mid, line);
  p.setColor(QPalette::Dark, line.darker(120));
  p.setColor(QPalette::Shadow, QColor(0, 0, 0));
  for (const QPalette::ColorRole role : {QPalette::WindowText, QPalette::Text, QPalette::ButtonText}) p.setColor(QPalette::Disabled, role, faint);
  return p;
}

const Theme& theme() {
  const bool dark = look().choice == ThemeChoice::dark || (look().choice == ThemeChoice::system && look().system_dark);
  return dark ? Theme::dark_one() : Theme::light();
}

void choose_theme(ThemeChoice choice) {
  look().choice = choice;
  apply();
}

ThemeChoice theme_choice() { return look().choice; }

void set_system_dark(bool dark) {
  if (dark == look().system_dark || !qEnvironmentVariableIsEmpty("ORRERY_THEME")) return;
  look().system_dark = dark;
  if (look().choice == ThemeChoice::system) apply();
}

void set_up_look() {
  QApplication::setStyle(QStyleFactory::create("Fusion"));
  // Qt 6.4 tells no colour scheme: a desktop's palette is dark where its windows are darker than their text.
  const QPalette system = QApplication::palette();
  look().system_dark = system.color(QPalette::Window).lightness() < system.color(QPalette::WindowText).lightness();
  const QByteArray forced = qgetenv("ORRERY_THEME");
  if (forced == "dark") look().system_dark = true;
  if (forced == "light") look().system_dark = false;
  apply();
}

}  // namespace orrery::gui
