import Foundation

/// What was measured, as a table in Markdown.
struct Table {
    private var rows: [[String]] = []
    /// Whether everything that has a budget kept it.
    private(set) var isWithinBudget = true

    /// Adds a row.
    ///
    /// - Parameters:
    ///   - what: what was measured.
    ///   - value: the figure.
    ///   - ratio: its ratio to the figure that it is measured against.
    ///   - budget: the largest ratio that is good.
    ///   - limit: whether an absolute limit was kept, and its words.
    mutating func add(
        _ what: String,
        _ value: String,
        ratio: Double? = nil,
        budget: Double? = nil,
        limit: (isKept: Bool, words: String)? = nil
    ) {
        var verdict = ""
        if let budget, let ratio {
            verdict = "at most \(budget) x: \(ratio <= budget ? "kept" : "MISSED")"
            if ratio > budget { isWithinBudget = false }
        }
        if let limit {
            verdict = "\(limit.words): \(limit.isKept ? "kept" : "MISSED")"
            if !limit.isKept { isWithinBudget = false }
        }
        rows.append([what, value, ratio.map { String(format: "%.2f x", $0) } ?? "", verdict])
    }

    /// Adds the rows of another table.
    ///
    /// - Parameter other: the other one.
    mutating func add(contentsOf other: Table) {
        rows += other.rows
        isWithinBudget = isWithinBudget && other.isWithinBudget
    }

    /// The table.
    var text: String {
        let header = ["what", "median or figure", "ratio", "budget"]
        return ([header, header.map { _ in "---" }] + rows)
            .map { "| \($0.joined(separator: " | ")) |" }
            .joined(separator: "\n")
    }
}
