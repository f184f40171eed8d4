#include "gui/pages/energy_page.h"

#include <fmt/format.h>

#include <QComboBox>
#include <QFrame>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QVBoxLayout>
#include <algorithm>

#include "app/command_line.h"
#include "core/quantity_text.h"
#include "gui/charts/energy_chart.h"
#include "gui/charts/power_chart.h"
#include "gui/state/view_state.h"

namespace orrery::gui {
namespace {

QString words(std::string_view s) { return QString::fromUtf8(s.data(), static_cast<qsizetype>(s.size())); }

// Energy to compute or move for one class, in words.
QString about(WorkClass work) {
  if (is_communication(work)) return QObject::tr("communication, above idle power");
  return QObject::tr("kernels of this class, above idle power");
}

QString class_name(WorkClass work) {
  const QString name = words(orrery::name(work));
  return is_communication(work) ? name.section('_', 0, 0) + QObject::tr(" communication") : name;
}

// format_energy does not go far below a joule.
QString small_energy(Joules e) {
  if (e.v <= 0 || e.v >= 1) return words(format_energy(e));
  if (e.v >= 1e-3) return QString::fromStdString(fmt::format("{:.3g} mJ", e.v * 1e3));
  return QString::fromStdString(fmt::format("{:.3g} µJ", e.v * 1e6));
}

}  // namespace

EnergyPage::EnergyPage(ViewState& state, QWidget* parent) : Page(state, "energy", tr("Energy"), parent) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(12, 12, 12, 12);
  layout->setSpacing(10);

  auto* cards = new QHBoxLayout;
  const auto card = [&](const QString& name, const QString& tip) {
    auto* frame = new QFrame;
    frame->setObjectName("card");
    frame->setToolTip(tip);
    auto* inside = new QVBoxLayout(frame);
    inside->setContentsMargins(12, 8, 12, 8);
    auto* value = new QLabel;
    value->setObjectName("figure");
    value->setAccessibleName(name);
    auto* caption = new QLabel(name);
    caption->setObjectName("dim");
    inside->addWidget(value);
    inside->addWidget(caption);
    cards->addWidget(frame, 1);
    return value;
  };
  per_step_ = card(tr("energy of a step"), tr("Of all devices: idle power over the whole step, and what running takes above it"));
  per_token_ = card(tr("energy per token"), tr("Energy of a step by its tokens"));
  mean_ = card(tr("mean power"), tr("Of all devices over the step"));
  peak_ = card(tr("highest power"), tr("Of all devices at any time of the step"));
  layout->addLayout(cards);
  basis_ = new QLabel;
  basis_->setObjectName("dim");
  basis_->setWordWrap(true);
  basis_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  layout->addWidget(basis_);

  auto* head = new QHBoxLayout;
  auto* title = new QLabel(tr("Power over the step"));
  title->setObjectName("section");
  whose_ = new QComboBox;
  whose_->setAccessibleName(tr("Whose power"));
  whose_->setToolTip(tr("All devices together, or the device of the rank that Memory shows"));
  whose_->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  whose_->addItem(tr("all devices"));
  whose_->addItem(tr("one device"));
  head->addWidget(title);
  head->addStretch(1);
  head->addWidget(whose_);
  layout->addLayout(head);
  power_ = new PowerChart;
  power_->setMinimumHeight(170);
  layout->addWidget(power_, 3);

  auto* by_class = new QLabel(tr("Energy of a step by what it is spent on"));
  by_class->setObjectName("section");
  layout->addWidget(by_class);
  bars_ = new EnergyChart;
  layout->addWidget(bars_, 2);

  connect(&state, &ViewState::answer_changed, this, &EnergyPage::refresh);
  connect(&state, &ViewState::timeline_changed, this, &EnergyPage::refresh);
  connect(&state, &ViewState::rank_changed, this, &EnergyPage::refresh);
  connect(&state, &ViewState::cursor_changed, this, [this] {
    if (isVisible()) power_->set_cursor(this->state().cursor());
  });
  connect(&state, &ViewState::range_changed, this, [this] { power_->set_range(this->state().range()); });
  connect(whose_, &QComboBox::currentIndexChanged, this, &EnergyPage::refresh);
  connect(power_, &TimeChart::hovered, this, [this](Picoseconds time) { this->state().set_cursor(time); });
  connect(power_, &TimeChart::clicked, this, [this](Picoseconds time) { this->state().set_cursor(time); });
  connect(power_, &TimeChart::range_wanted, this, [this](const auto& range) { this->state().set_range(range); });
  show_figures();
  dim_when_stale(this, true);
}

QList<const Chart*> EnergyPage::charts() const { return {power_, bars_}; }

void EnergyPage::showEvent(QShowEvent* event) {
  Page::showEvent(event);
  power_->set_cursor(state().cursor());
  refresh();
}

void EnergyPage::refresh() {
  if (!isVisible()) return;
  const std::shared_ptr<const Timeline> timeline = state().timeline();
  if (!timeline) {
    work_.forget();
    asked_.reset(), figures_.reset();
    show_figures();
    return;
  }
  std::optional<std::uint32_t> rank;
  if (whose_->currentIndex() == 1) {
    rank = state().rank();
    if (*rank >= timeline->ranks.size() || timeline->ranks[*rank].empty())  // folded: the first that was recorded
      for (std::size_t r = 0; r < timeline->ranks.size(); ++r)
        if (!timeline->ranks[r].empty()) {
          rank = static_cast<std::uint32_t>(r);
          break;
        }
  }
  if (timeline == asked_ && rank == asked_rank_ && figures_) return;
  asked_ = timeline, asked_rank_ = rank;
  const std::shared_ptr<const Figures> before = figures_ && figures_->timeline == timeline ? figures_ : nullptr;
  const std::shared_ptr<const app::Explored> explored = state().trace() ? nullptr : state().shown()->explored;
  work_.ask([this, timeline, explored, rank, before]() -> std::function<void()> {
    auto out = std::make_shared<Figures>();
    out->timeline = timeline, out->explored = explored, out->rank = rank;
    const cost::Table nothing{};  // of what devices draw at rest
    const cost::Table& cost = explored ? explored->cost : nothing;
    out->story = before ? before->story : app::power_story(*timeline, cost, explored ? explored->inputs.cluster.device : Device{});
    if (rank) out->curve = app::power_of(*timeline, cost, *rank);
    return [this, out] {
      figures_ = out;
      show_figures();
    };
  });
}

void EnergyPage::show_figures() {
  const Figures* f = figures_.get();
  const bool any = f != nullptr && (f->explored || f->story.total().v > 0);
  whose_->setEnabled(any);
  if (!any) {
    QString why = tr("It appears when the plan has been simulated.");
    if (f && state().trace()) why = tr("The trace says nothing of energy: of a measured run nobody knows what each kind of work took.");
    if (!f && state().answer() && !state().answer()->explored) why = tr("This plan cannot be compiled: the Setup page says why and offers a mend.");
    for (QLabel* label : {per_step_, per_token_, mean_, peak_}) label->setText(QStringLiteral("–"));
    basis_->clear();
    power_->show({}, {}, {}, why);
    bars_->show({}, why);
    return;
  }
  show_cards();
  const app::PowerStory& story = f->story;
  const double devices = f->rank ? 1 : static_cast<double>(story.devices);
  whose_->setItemText(0, tr("all %L1 devices").arg(story.devices));
  whose_->setItemText(1, f->rank ? tr("device of %1").arg(words(f->timeline->ranks[*f->rank])) : tr("one device"));
  power_->set_whole(f->timeline->step);
  power_->set_range(state().range());
  power_->show(f->rank ? f->curve : story.all, story.idle_power * devices, story.rated * devices);

  std::vector<EnergyChart::Bar> bars;
  if (f->explored) bars.push_back({tr("idle"), tr("idle power of all devices over the whole step"), story.idle, view::Hue::none});
  for (std::size_t c = 0; c < kWorkClasses; ++c)
    if (story.by_class[c].v > 0) {
      const auto work = static_cast<WorkClass>(c);
      bars.push_back({class_name(work), about(work), story.by_class[c], view::hue(work)});
    }
  std::stable_sort(bars.begin(), bars.end(), [](const auto& a, const auto& b) { return a.energy > b.energy; });
  bars_->show(std::move(bars));
}

void EnergyPage::show_cards() {
  const app::PowerStory& story = figures_->story;
  per_step_->setText(words(format_energy(story.total())));
  per_token_->setText(QStringLiteral("–"));
  if (figures_->explored) {
    const BatchSpec& batch = figures_->explored->report.plan.batch;
    per_token_->setText(small_energy(story.total() / (static_cast<double>(batch.global) * static_cast<double>(batch.sequence))));
  }
  mean_->setText(words(format_power(story.all.mean)));
  peak_->setText(words(format_power(story.all.peak)));
  basis_->setText(basis());
}

// What the figures come from, and what they leave out.
QString EnergyPage::basis() const {
  const app::PowerStory& story = figures_->story;
  const QString silent = story.silent > 0 ? tr(" %L1 devices that were not recorded are counted as idle.").arg(story.silent) : QString();
  if (!figures_->explored)
    return tr("Above idle power, as the trace has it for each kind of work: what devices draw at rest and how many tokens a step has, a trace does "
              "not "
              "say.") +
           silent;
  if (story.rated.v == 0 && story.idle_power.v == 0) return tr("The device file names neither idle nor rated power: nothing can be said of energy.");
  QString out =
      tr("%1. Of %L2 devices at %3 idle").arg(words(app::energy_basis(story.grade))).arg(story.devices).arg(words(format_power(story.idle_power)));
  out[0] = out[0].toUpper();
  if (story.rated.v > 0) out += tr(", rated at %1").arg(words(format_power(story.rated)));
  out += tr(". Without hosts, network and cooling.");
  if (story.rated.v > 0 && story.all.peak.v > 1.001 * story.rated.v * static_cast<double>(story.devices))
    out += tr(" Where communication runs beside computation both are added, though devices would keep to their rated power.");
  return out + silent;
}

QString EnergyPage::command() const {
  if (state().trace()) return trace_command();
  return QString::fromStdString(app::command_line(shown_question(), "simulate", {"--explain"}));
}

std::optional<QString> EnergyPage::csv() const {
  if (!figures_ || !whose_->isEnabled()) return std::nullopt;
  const app::PowerStory& story = figures_->story;
  std::string out = "class,energy_J,share\r\n";
  const double total = std::max(story.total().v, 1e-300);
  if (figures_->explored) out += fmt::format("idle,{:.9g},{:.6g}\r\n", story.idle.v, story.idle.v / total);
  for (std::size_t c = 0; c < kWorkClasses; ++c)
    if (story.by_class[c].v > 0)
      out += fmt::format("{},{:.9g},{:.6g}\r\n", orrery::name(static_cast<WorkClass>(c)), story.by_class[c].v, story.by_class[c].v / total);
  return QString::fromStdString(out);
}

}  // namespace orrery::gui
