/// Figures in Prometheus' text format, version 0.0.4 (prometheus.io, "Exposition formats").
struct PrometheusText {
    /// How a family of series is read.
    enum Kind: String {
        /// Only ever rises while the process lives.
        case counter
        /// Is what it is.
        case gauge
    }

    /// What is written so far.
    private(set) var text = ""

    static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    /// Writes a family of series.
    ///
    /// - Parameters:
    ///   - name: its name.
    ///   - kind: how it is read.
    ///   - help: what it says, without a line break.
    ///   - samples: the labels and the value of each series.
    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ samples: [([(String, String)], Double)]) {
        head(name, kind.rawValue, help)
        for (labels, value) in samples { line(name, labels, value) }
    }

    /// Writes a family that is one series.
    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        add(name, kind, help, [([], value)])
    }

    /// Writes histograms.
    ///
    /// - Parameters:
    ///   - name: the name of the family.
    ///   - help: what it says.
    ///   - histograms: the labels of each, and what fell where.
    mutating func add(histogram name: String, _ help: String, _ histograms: [([(String, String)], Histogram)]) {
        head(name, "histogram", help)
        for (labels, histogram) in histograms {
            var count = 0
            for (index, inBucket) in histogram.buckets.enumerated() {
                count += inBucket
                let isLast = index == histogram.bounds.count
                let bound = isLast ? "+Inf" : Self.number(histogram.bounds[index])
                line("\(name)_bucket", labels + [("le", bound)], Double(count))
            }
            line("\(name)_sum", labels, histogram.sum)
            line("\(name)_count", labels, Double(count))
        }
    }

    private mutating func head(_ name: String, _ kind: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
    }

    private mutating func line(_ name: String, _ labels: [(String, String)], _ value: Double) {
        let list = labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",")
        text += "\(name)\(list.isEmpty ? "" : "{\(list)}") \(Self.number(value))\n"
    }

    private static func number(_ value: Double) -> String {
        Int(exactly: value).map(String.init) ?? "\(value)"
    }

    private static func escaped(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
