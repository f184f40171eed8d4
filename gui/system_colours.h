// Whether the desktop is dark, now and when it changes.
#pragma once

#include <QDBusVariant>
#include <QObject>
#include <QVariant>
#include <optional>

namespace orrery::gui {

// By the freedesktop.org portal ("org.freedesktop.appearance", "color-scheme": 1 dark, 2 light, 0 no preference), which Qt 6.4 does not ask. It is
// asked without waiting; where there is no portal, what the palette said holds.
class SystemColours : public QObject {
  Q_OBJECT

 public:
  explicit SystemColours(QObject* parent = nullptr);

  // The portal's answer, which may be wrapped in variants; nothing for anything else than its three numbers, and for "no preference".
  static std::optional<bool> dark_by(const QVariant& answer);

 private Q_SLOTS:
  void setting_changed(const QString& space, const QString& key, const QDBusVariant& value);
};

}  // namespace orrery::gui
