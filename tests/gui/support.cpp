#include "support.h"

#include <QApplication>
#include <QDir>

#include "gui/screenshot.h"
#include "gui/theme.h"

namespace orrery::gui::testing {

bool wait_for(const std::function<bool()>& done) { return wait_until(done, 60); }

app::PlanFlags tiny() {
  app::PlanFlags flags;
  flags.model = "cpu-llama-tiny";
  flags.cluster = "this-machine:4";
  flags.settings = {"batch.global=8", "batch.micro=1", "batch.sequence=128", "parallel.tp=2", "parallel.pp=2"};
  return flags;
}

Asked::Asked(const app::PlanFlags& question) {
  state.ask(question, {});
  EXPECT_TRUE(wait_for([this] { return state.settled(); })) << "no answer";
}

::testing::AssertionResult looks_like(const QImage& image, const std::string& name) {
  constexpr int kReduced = 9, kMostDifference = 24;
  constexpr double kMeanDifference = 2;
  const QString path = QStringLiteral(ORRERY_SOURCE_DIR "/tests/gui/pictures/%1.png").arg(QString::fromStdString(name));
  const QSize small = image.size() / kReduced;
  const QImage reduced = image.convertToFormat(QImage::Format_RGB888).scaled(small, Qt::IgnoreAspectRatio, Qt::SmoothTransformation);
  if (qEnvironmentVariableIsSet("ORRERY_UPDATE_PICTURES")) {
    QDir().mkpath(ORRERY_SOURCE_DIR "/tests/gui/pictures");
    return reduced.save(path) ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << "cannot write " << path.toStdString();
  }
  const QImage expected = QImage(path).convertToFormat(QImage::Format_RGB888);
  const auto differs = [&](const std::string& how) {
    const QString kept = QDir::temp().filePath(QString::fromStdString(name) + "-is.png");
    image.save(kept);
    return ::testing::AssertionFailure() << name << " " << how << "; it looks like " << kept.toStdString()
                                         << " (ORRERY_UPDATE_PICTURES=1 takes that as right)";
  };
  if (expected.isNull()) return differs("has no picture at " + path.toStdString());
  if (expected.size() != small) return differs("has another size");
  int most = 0;
  double sum = 0;
  for (int y = 0; y < small.height(); ++y)
    for (int x = 0; x < 3 * small.width(); ++x) {
      const int d = std::abs(reduced.constScanLine(y)[x] - expected.constScanLine(y)[x]);
      most = std::max(most, d);
      sum += d;
    }
  const double mean = sum / (3.0 * small.width() * small.height());
  if (most > kMostDifference || mean > kMeanDifference)
    return differs("differs by up to " + std::to_string(most) + " of 255, " + std::to_string(mean) + " in the mean");
  return ::testing::AssertionSuccess();
}

}  // namespace orrery::gui::testing

int main(int argc, char** argv) {
  if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) qputenv("QT_QPA_PLATFORM", "offscreen");
  qputenv("ORRERY_THEME", "light");
  ::testing::InitGoogleTest(&argc, argv);
  const QApplication application(argc, argv);
  orrery::gui::set_up_look();
  return RUN_ALL_TESTS();
}
