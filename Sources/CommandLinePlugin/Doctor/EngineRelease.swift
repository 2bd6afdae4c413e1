/// Version of an engine.
struct EngineRelease: Comparable, CustomStringConvertible {
    let numbers: [Int]
    /// Whether a distribution built it, which mends faults without a new number.
    let isOfDistribution: Bool

    init(_ major: Int, _ minor: Int, _ patch: Int) {
        numbers = [major, minor, patch]
        isOfDistribution = false
    }

    /// Reads a version like `20.10.24+dfsg1` or `28.2.2`.
    init?(_ text: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        let numbers = digits.split(separator: ".").compactMap { Int($0) }
        guard numbers.count >= 2 else { return nil }
        self.numbers = [numbers[0], numbers[1], numbers.count > 2 ? numbers[2] : 0]
        let rest = text.dropFirst(digits.count)
        isOfDistribution = !rest.isEmpty && !["-rc", "-beta", "-ce", "-dev"].contains(where: rest.hasPrefix)
    }

    var description: String { numbers.map(String.init).joined(separator: ".") }

    static func < (left: EngineRelease, right: EngineRelease) -> Bool {
        left.numbers.lexicographicallyPrecedes(right.numbers)
    }

    static func == (left: EngineRelease, right: EngineRelease) -> Bool { left.numbers == right.numbers }
}

/// A fault of the engine by which requests get past authorization plugins.
struct Advisory {
    let name: String
    /// The first version from which every later one is mended.
    let mendedFrom: EngineRelease
    /// Older lines that were mended too, from these versions on.
    let mendedLines: [EngineRelease]

    static let all = [
        // A request without a length: its body is not shown.
        Advisory(
            name: "CVE-2024-41110",
            mendedFrom: EngineRelease(27, 1, 1),
            mendedLines: [EngineRelease(23, 0, 15), EngineRelease(25, 0, 6), EngineRelease(26, 1, 5)]
        ),
        // A request of more than a megabyte: its body is not shown.
        Advisory(
            name: "CVE-2026-34040",
            mendedFrom: EngineRelease(29, 3, 1),
            mendedLines: [EngineRelease(25, 0, 16)]
        ),
    ]

    func isMended(in version: EngineRelease) -> Bool {
        version >= mendedFrom
            || mendedLines.contains { $0.numbers.prefix(2) == version.numbers.prefix(2) && version >= $0 }
    }
}
