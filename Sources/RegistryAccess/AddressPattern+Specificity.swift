extension AddressPattern {
    /// How narrowly the pattern names registries, to find the one that speaks most precisely of an address.
    ///
    /// In this order: one host (or one network, the longer prefix first), `*.`, `**.` with the longer suffix first,
    /// `**`; among equals a pattern with a port comes before one with any port.
    public struct Specificity: Comparable, Sendable {
        private let form: Int
        private let length: Int
        private let port: Int

        init(_ pattern: AddressPattern) {
            switch pattern.host {
            case .everything: (form, length) = (0, 0)
            case .labelsBelow: (form, length) = (1, pattern.name.utf8.count)
            case .oneLabelBelow: (form, length) = (2, pattern.name.utf8.count)
            case .ipv4Network(_, let prefix): (form, length) = (3, prefix)
            case .ipv6Network(_, _, let prefix): (form, length) = (3, prefix)
            case .exactly: (form, length) = (4, 0)
            }
            port = pattern.port == .any ? 0 : 1
        }

        /// Whether the first names registries less narrowly than the second.
        public static func < (first: Specificity, second: Specificity) -> Bool {
            (first.form, first.length, first.port) < (second.form, second.length, second.port)
        }
    }

    /// How narrowly the pattern names registries.
    public var specificity: Specificity { Specificity(self) }
}
