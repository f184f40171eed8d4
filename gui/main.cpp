// orrery-gui: plans explored in a window, or pictures of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <QApplication>
#include <QStandardPaths>
#include <cstdio>
#include <cstdlib>

#include "app/file_kind.h"
#include "app/version.h"
#include "core/error.h"
#include "gui/main_window.h"
#include "gui/page.h"
#include "gui/screenshot.h"
#include "gui/state/view_state.h"
#include "gui/system_colours.h"
#include "gui/theme.h"
#include "gui/view/examples.h"

namespace {

using namespace orrery;

struct Command {
  std::string file, model, cluster, profile, over, page, screenshot, size = "1280x800", colours;
  std::vector<std::string> settings, then;
  bool act = false;
};

QSize parse_size(const std::string& text) {
  int width = 0, height = 0;
  char end = 0;
  if (std::sscanf(text.c_str(), "%dx%d%c", &width, &height, &end) != 2 || width < 320 || height < 240 || width > 16384 || height > 16384)
    throw Error("--size", fmt::format("'{}' is not a size of a window", text), "write width and height in pixels: 1280x800");
  return {width, height};
}

// A plan is a question by itself; anything else goes with the first example. What cannot be read is told when it is opened.
bool is_plan(const std::string& file) {
  try {
    return app::file_kind(file) == app::FileKind::plan;
  } catch (const Error&) {
    return false;
  }
}

int show(const Command& command, int argc, char** argv) {
  const bool picture = !command.screenshot.empty();
  const QSize size = parse_size(command.size);
  if (picture && qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) qputenv("QT_QPA_PLATFORM", "offscreen");
  if (!command.colours.empty()) qputenv("ORRERY_THEME", QByteArray::fromStdString(command.colours));
  const QApplication application(argc, argv);
  QApplication::setApplicationName("orrery-gui");
  QApplication::setApplicationVersion(QString::fromStdString(app::version()));
  gui::set_up_look();

  gui::ViewState state;
  const QString memory = picture ? QString() : QStandardPaths::writableLocation(QStandardPaths::GenericConfigLocation) + "/orrery/orrery-gui.ini";
  gui::MainWindow window(state, memory);
  QString said;  // what cannot be read is told here as well when there is no window to look at
  QObject::connect(&state, &gui::ViewState::message, &window, [&](const QString& text, gui::Tone tone) {
    if (tone == gui::Tone::bad) said = text;
  });
  const bool named = !command.model.empty() || !command.cluster.empty() || !command.settings.empty() || !command.profile.empty();
  if (command.file.empty() || named) {
    app::PlanFlags question = command.model.empty() && command.cluster.empty() ? gui::ViewState::first_question() : app::PlanFlags{};
    if (!command.model.empty()) question.model = command.model;
    if (!command.cluster.empty()) question.cluster = command.cluster;
    question.profile = command.profile;
    if (!command.file.empty()) question = {}, question.plan = command.file, question.profile = command.profile;
    question.settings.insert(question.settings.end(), command.settings.begin(), command.settings.end());
    state.ask(question, {});
  } else {
    if (!is_plan(command.file)) state.ask(gui::ViewState::first_question(), {});
    state.open(QString::fromStdString(command.file));
  }
  if (!command.over.empty()) state.open_over(QString::fromStdString(command.over));
  if (!command.page.empty() && !window.show_page(QString::fromStdString(command.page))) {
    std::vector<std::string> known;
    for (const gui::Page* page : window.pages()) known.push_back(page->key().toStdString());
    throw Error("--page", fmt::format("'{}' is not a page", command.page), did_you_mean(command.page, known));
  }
  for (const std::string& then : command.then) {
    const std::size_t equals = then.find('=');
    if (equals == std::string::npos) throw Error("--then", fmt::format("'{}' has no '='", then), "write PATH=VALUE: --then parallel.tp=4");
    gui::wait_until([&] { return state.settled(); }, 60);
    if (!state.pinned()) state.pin();
    state.set(then.substr(0, equals), then.substr(equals + 1));
  }
  if (command.act) {
    gui::wait_until([&] { return state.settled() && window.page()->settled(); }, 60);
    window.page()->act();
  }
  if (!picture) {
    const gui::SystemColours follow;
    window.show();
    return QApplication::exec();
  }
  if (!said.isEmpty()) {
    fmt::print(stderr, "{}\n", said.toStdString());
    return 2;
  }
  const QString path = QString::fromStdString(command.screenshot);
  const QImage image = gui::screenshot(window, state, size);
  if (!image.save(path)) throw Error(command.screenshot, "cannot be written", "choose a folder that exists, and a name that ends in .png");
  if (state.answer() && state.answer()->error) {
    fmt::print(stderr, "{}\n", state.answer()->error->what());
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Command command;
  CLI::App parser("Explore plans for training: time, memory, network, energy, and what would change them.", "orrery-gui");
  parser.set_version_flag("--version", fmt::format("orrery-gui {} ({})", app::version(), app::commit()));
  parser.add_option("file", command.file, "a plan, a Hugging Face config.json, a cluster, a profile, a trace or a sweep's table");
  parser.add_option("--model", command.model, "a model's name or config.json");
  parser.add_option("--cluster", command.cluster, "a cluster's name and devices (dgx-h100:64), or a file");
  parser.add_option("--profile", command.profile, "a profile that 'orrery profile' made");
  parser.add_option("--set", command.settings, "PATH=VALUE of the plan, of model.… or of cluster.…")->allow_extra_args(false);
  parser.add_option("--then", command.then, "PATH=VALUE: pins the answer, and asks what this changes")->allow_extra_args(false);
  parser.add_option("--over", command.over, "a trace to lay over the prediction");
  parser.add_option("--page", command.page,
                    "the page to begin with: setup, timeline, memory, network, energy, whatif, plans, compare, sweeps or run");
  parser.add_flag("--start", command.act, "press the page's main button: search, sweep or run");
  parser.add_option("--colours", command.colours, "light or dark; default: as the system")->check(CLI::IsMember({"light", "dark"}));
  parser.add_option("--screenshot", command.screenshot, "write a picture of the window and leave; needs no screen");
  parser.add_option("--size", command.size, "of the picture")->capture_default_str();
  try {
    parser.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return parser.exit(e) == 0 ? 0 : 2;
  }
  try {
    return show(command, argc, argv);
  } catch (const Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 2;
  }
}
