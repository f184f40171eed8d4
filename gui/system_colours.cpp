#include "gui/system_colours.h"

#include <QDBusConnection>
#include <QDBusMessage>
#include <QDBusPendingCall>
#include <QDBusPendingCallWatcher>

#include "gui/theme.h"

namespace orrery::gui {
namespace {

const QString kPortal = QStringLiteral("org.freedesktop.portal.Desktop"), kPath = QStringLiteral("/org/freedesktop/portal/desktop"),
              kSettings = QStringLiteral("org.freedesktop.portal.Settings"), kSpace = QStringLiteral("org.freedesktop.appearance"),
              kKey = QStringLiteral("color-scheme");

}  // namespace

SystemColours::SystemColours(QObject* parent) : QObject(parent) {
  QDBusConnection bus = QDBusConnection::sessionBus();
  if (!bus.isConnected()) return;
  bus.connect(kPortal, kPath, kSettings, QStringLiteral("SettingChanged"), this, SLOT(setting_changed(QString, QString, QDBusVariant)));
  QDBusMessage ask = QDBusMessage::createMethodCall(kPortal, kPath, kSettings, QStringLiteral("Read"));
  ask << kSpace << kKey;
  auto* answer = new QDBusPendingCallWatcher(bus.asyncCall(ask), this);
  connect(answer, &QDBusPendingCallWatcher::finished, this, [](QDBusPendingCallWatcher* call) {
    if (!call->isError() && !call->reply().arguments().isEmpty()) {
      if (const std::optional<bool> dark = dark_by(call->reply().arguments().front())) set_system_dark(*dark);
    }
    call->deleteLater();
  });
}

std::optional<bool> SystemColours::dark_by(const QVariant& answer) {
  QVariant value = answer;
  for (int depth = 0; depth < 4 && value.canConvert<QDBusVariant>(); ++depth) value = value.value<QDBusVariant>().variant();
  bool number = false;
  const uint scheme = value.toUInt(&number);
  if (!number || (scheme != 1 && scheme != 2)) return std::nullopt;
  return scheme == 1;
}

void SystemColours::setting_changed(const QString& space, const QString& key, const QDBusVariant& value) {
  if (space != kSpace || key != kKey) return;
  if (const std::optional<bool> dark = dark_by(value.variant())) set_system_dark(*dark);
}

}  // namespace orrery::gui
