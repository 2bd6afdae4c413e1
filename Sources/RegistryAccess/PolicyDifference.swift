/// What changes from one policy to another.
///
/// Rules are told apart by their address; their order means nothing. Where an address has one rule before and one after, the
/// rule has changed; where it has several, those that are on one side only are removed and added.
public struct PolicyDifference: Sendable, Hashable {
    /// A setting of the whole policy.
    public struct Setting: Sendable, Hashable {
        /// Its key in the document.
        public let name: String
        /// What it was; `nil` if it was not set.
        public let before: String?
        /// What it is; `nil` if it is not set.
        public let after: String?
    }

    /// A rule that is another one for the same address.
    public struct Change: Sendable, Hashable {
        /// What it was.
        public let before: RegistryRule
        /// What it is.
        public let after: RegistryRule
    }

    /// Settings that are not the same, in the order of the document; the version is none of them.
    public let settings: [Setting]
    /// Rules that are there no more, in their order.
    public let removed: [RegistryRule]
    /// Rules that were not there, in their order.
    public let added: [RegistryRule]
    /// Rules that are others for the same address, in the order of the second policy.
    public let changed: [Change]

    /// Whether the two policies decide the same, and say the same to people.
    public var isEmpty: Bool { settings.isEmpty && removed.isEmpty && added.isEmpty && changed.isEmpty }

    /// Compares; takes time in proportion to the rules.
    ///
    /// - Parameters:
    ///   - before: the earlier policy.
    ///   - after: the later one.
    public init(from before: AccessPolicy, to after: AccessPolicy) {
        settings = zip(Self.settings(of: before), Self.settings(of: after)).compactMap { old, new in
            old.value == new.value ? nil : Setting(name: old.name, before: old.value, after: new.value)
        }
        // Rules are looked up only between what is alike at the beginning and at the end, mostly around one of them.
        let (rulesBefore, rulesAfter) = Self.between(before.rules, after.rules)
        // Of equal rules, as many as both have stay.
        var common: [RegistryRule: Int] = [:]
        for rule in rulesBefore { common[rule, default: 0] += 1 }
        var new: [RegistryRule] = []
        for rule in rulesAfter {
            if let count = common[rule], count > 0 { common[rule] = count - 1 } else { new.append(rule) }
        }
        var old: [RegistryRule] = []
        for rule in rulesBefore.reversed() {
            guard let count = common[rule], count > 0 else { continue }
            common[rule] = count - 1
            old.append(rule)
        }
        old.reverse()
        let (oldByAddress, newByAddress) = (
            Dictionary(grouping: old, by: \.address), Dictionary(grouping: new, by: \.address)
        )
        func counterpart(_ rule: RegistryRule, in others: [AddressPattern: [RegistryRule]]) -> RegistryRule? {
            guard oldByAddress[rule.address]?.count == 1, newByAddress[rule.address]?.count == 1 else { return nil }
            return others[rule.address]?.first
        }
        removed = old.filter { counterpart($0, in: newByAddress) == nil }
        added = new.filter { counterpart($0, in: oldByAddress) == nil }
        changed = new.compactMap { rule in
            counterpart(rule, in: oldByAddress).map { Change(before: $0, after: rule) }
        }
    }

    private static func between(
        _ before: [RegistryRule],
        _ after: [RegistryRule]
    ) -> (ArraySlice<RegistryRule>, ArraySlice<RegistryRule>) {
        let shorter = min(before.count, after.count)
        var start = 0
        while start < shorter, before[start] == after[start] { start += 1 }
        var end = 0
        while end < shorter - start, before[before.count - 1 - end] == after[after.count - 1 - end] { end += 1 }
        return (before[start..<(before.count - end)], after[start..<(after.count - end)])
    }

    private static func settings(of policy: AccessPolicy) -> [(name: String, value: String?)] {
        [
            ("organization", policy.organization), ("enabled", policy.isEnabled ? "true" : "false"),
            ("mode", policy.mode.rawValue), ("contact", policy.contact), ("imports", policy.imports.rawValue),
            ("unmanagedBuilders", policy.unmanagedBuilders.rawValue),
        ]
    }
}
