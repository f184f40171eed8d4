// What memory holds at one time, a buffer a row.
#pragma once

#include <QAbstractTableModel>
#include <vector>

#include "app/memory_story.h"

namespace orrery::gui {

class HoldingsModel : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Column { kBuffer, kCategory, kBytes, kShare, kInstances, kColumns };

  explicit HoldingsModel(QObject* parent = nullptr);
  void show(std::vector<app::Holding> holdings);
  const std::vector<app::Holding>& holdings() const { return holdings_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  std::vector<app::Holding> holdings_;
  std::int64_t total_ = 0;
};

}  // namespace orrery::gui
