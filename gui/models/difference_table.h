// Rows of a comparison: A, B, and what B has more.
#pragma once

#include <QAbstractTableModel>
#include <vector>

#include "app/compare.h"

namespace orrery::gui {

class DifferenceTable : public QAbstractTableModel {
  Q_OBJECT

 public:
  enum Column { name, a, b, difference, relative, columns };
  static constexpr int kSortRole = Qt::UserRole;

  explicit DifferenceTable(QObject* parent = nullptr);

  void show_rows(std::vector<app::Row> rows, bool bytes);
  const std::vector<app::Row>& rows() const { return rows_; }

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  std::vector<app::Row> rows_;
  bool bytes_ = false;
};

}  // namespace orrery::gui
