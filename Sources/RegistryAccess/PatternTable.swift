/// Patterns and where they are filed: finds the few that could match an address, however many there are.
///
/// A hash table over the names of hosts read from their end, so that one walk over a host gives the hashes of all
/// its parent domains. The policy's author chooses what is in the table, so nobody else can make its chains long.
struct PatternTable: Sendable {
    /// The patterns in the order in which they came; their places are handed out.
    private(set) var patterns: [AddressPattern] = []
    /// The place of a pattern plus one in the lower half, the upper half of its hash in the upper; 0 if empty.
    ///
    /// At least twice as many as there are patterns.
    private var slots: [UInt64]
    private var hasAnyPort = false
    private var hasOneLabel = false
    private var hasManyLabels = false
    private var everything: Int?
    private var ipv4Prefixes: [Int] = []
    private var ipv6Prefixes: [Int] = []

    init(minimumCapacity: Int) {
        var capacity = 16
        while capacity < minimumCapacity * 2 { capacity *= 2 }
        slots = Array(repeating: 0, count: capacity)
        patterns.reserveCapacity(minimumCapacity)
    }

    /// The place of a pattern, which is a new one if the pattern is.
    mutating func place(of pattern: AddressPattern) -> Int {
        if pattern.host == .everything, let everything { return everything }
        let hash = Self.hash(of: pattern)
        if pattern.host != .everything, let found = find(hash, where: { $0 == pattern }) { return found }
        let place = patterns.count
        patterns.append(pattern)
        if patterns.count * 2 > slots.count { grow() }
        note(pattern, place)
        insert(place, hash)
        return place
    }

    /// The places of the patterns that match an address, the most specific first.
    func matches(_ address: RegistryAddress) -> [Int] {
        var places: [Int] = []
        if let everything { places.append(everything) }
        switch address.kind {
        case .name: break
        case .ipv4(let value):
            for prefix in ipv4Prefixes {
                look(.ipv4Network(AddressPattern.masked(value, prefix: prefix), prefix: prefix), address.port, &places)
            }
        case .ipv6(let high, let low):
            for prefix in ipv6Prefixes {
                let network = AddressPattern.masked(high: high, low: low, prefix: prefix)
                look(.ipv6Network(high: network.0, low: network.1, prefix: prefix), address.port, &places)
            }
        }
        addNameMatches(address, to: &places)
        // Names are walked from their end, so what came last is the most specific.
        return places.reversed()
    }

    private func addNameMatches(_ address: RegistryAddress, to places: inout [Int]) {
        let host = address.host.utf8.span
        var hash = SuffixHash()
        let hasParents = (hasOneLabel || hasManyLabels) && address.kind == .name
        let firstDot = host.indices.first { host[$0] == ASCII.dot }
        // From the end to the start: at each dot the hash is that of the parent domain behind it.
        for index in host.indices.reversed() {
            let byte = host[index]
            if byte == ASCII.dot, hasParents {
                let parent = host.extracting((index + 1)...)
                if hasManyLabels { look(.labelsBelow, parent, hash, address.port, &places) }
                if hasOneLabel, index == firstDot { look(.oneLabelBelow, parent, hash, address.port, &places) }
            }
            hash.add(byte)
        }
        look(.exactly, host, hash, address.port, &places)
    }

    private func look(
        _ kind: AddressPattern.Host,
        _ name: Span<UInt8>,
        _ hash: SuffixHash,
        _ port: UInt16?,
        _ places: inout [Int]
    ) {
        look(kind, name, hash, .only(port), &places)
        if hasAnyPort { look(kind, name, hash, .any, &places) }
    }

    private func look(
        _ kind: AddressPattern.Host,
        _ name: Span<UInt8>,
        _ hash: SuffixHash,
        _ port: AddressPattern.Port,
        _ places: inout [Int]
    ) {
        let found = find(hash.value(kind, port)) { pattern in
            Self.isSame(pattern.name.utf8.span, name) && pattern.host == kind && pattern.port == port
        }
        if let found { places.append(found) }
    }

    private static func isSame(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        for index in a.indices where a[index] != b[index] { return false }
        return true
    }

    private func look(_ network: AddressPattern.Host, _ port: UInt16?, _ places: inout [Int]) {
        for port in [AddressPattern.Port.only(port), .any] {
            if let found = find(SuffixHash().value(network, port), where: { $0.host == network && $0.port == port }) {
                places.append(found)
            }
        }
    }

    private mutating func note(_ pattern: AddressPattern, _ place: Int) {
        switch pattern.host {
        case .everything: everything = place
        case .exactly: break
        case .oneLabelBelow: hasOneLabel = true
        case .labelsBelow: hasManyLabels = true
        case .ipv4Network(_, let prefix): if !ipv4Prefixes.contains(prefix) { ipv4Prefixes.append(prefix) }
        case .ipv6Network(_, _, let prefix): if !ipv6Prefixes.contains(prefix) { ipv6Prefixes.append(prefix) }
        }
        if pattern.port == .any { hasAnyPort = true }
    }

    // MARK: - The table

    private func find(_ hash: UInt64, where isSame: (AddressPattern) -> Bool) -> Int? {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 {
            // A look at the pattern itself is a miss of the cache; most strangers differ in the hash already.
            if slots[slot] >> 32 == hash >> 32 {
                let place = Int(slots[slot] & 0xFFFF_FFFF) - 1
                if isSame(patterns[place]) { return place }
            }
            slot = (slot + 1) & mask
        }
        return nil
    }

    private mutating func insert(_ place: Int, _ hash: UInt64) {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = (hash & ~0xFFFF_FFFF) | UInt64(place + 1)
    }

    private mutating func grow() {
        slots = Array(repeating: 0, count: slots.count * 2)
        for (place, pattern) in patterns.dropLast().enumerated() { insert(place, Self.hash(of: pattern)) }
    }

    private static func hash(of pattern: AddressPattern) -> UInt64 {
        var hash = SuffixHash()
        let name = pattern.name.utf8.span
        for index in name.indices.reversed() { hash.add(name[index]) }
        return hash.value(pattern.host, pattern.port)
    }
}

/// FNV-1a over a name from its end, then mixed with what else tells patterns apart.
private struct SuffixHash {
    private var state: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ byte: UInt8) {
        state = (state ^ UInt64(byte)) &* 0x100_0000_01B3
    }

    func value(_ host: AddressPattern.Host, _ port: AddressPattern.Port) -> UInt64 {
        var value = state
        switch host {
        case .everything: break
        case .exactly: value ^= 1
        case .oneLabelBelow: value ^= 2
        case .labelsBelow: value ^= 3
        case .ipv4Network(let address, let prefix): value = Self.mixed(value ^ UInt64(address)) ^ UInt64(prefix)
        case .ipv6Network(let high, let low, let prefix):
            value = Self.mixed(Self.mixed(value ^ high) ^ low) ^ UInt64(prefix)
        }
        switch port {
        case .any: break
        case .only(let port): value ^= UInt64(port ?? 443) << 32
        }
        return Self.mixed(value)
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var value = (value ^ value >> 32) &* 0x9E37_79B9_7F4A_7C15
        value = (value ^ value >> 29) &* 0xBF58_476D_1CE4_E5B9
        return value ^ value >> 32
    }
}
