import LocalInstallation

/// nft of the running machine.
struct PacketFilter {
    static let usualPath = "/usr/sbin/nft"

    let nft: String
    private let environment: [String: String]

    /// What the kernel holds of the rules.
    struct Loaded {
        let refused: Int
        /// Whether the cgroup that they are for is still there; a service gets another one with every start.
        let isCurrent: Bool
    }

    /// The running machine's, if it is meant: not so under another root than `/`.
    init?(_ context: CommandContext) {
        guard context.paths.root == "/" else { return nil }
        nft =
            ChildProcess.find("nft", environment: context.environment)
            ?? ChildProcess.find(Self.usualPath, environment: [:]) ?? ""
        environment = context.environment
    }

    func checkIsThere() throws {
        guard nft.isEmpty else { return }
        throw Failure("nft is not installed; nothing was changed", hints: ["install the package nftables"])
    }

    func check(_ rules: String) throws {
        try run(["-c", "-f", "-"], input: rules, "the kernel or nft does not take the rules; nothing was changed")
    }

    func load(_ path: String) throws {
        try run(["-f", path], "the rules could not be loaded")
    }

    func unload() throws {
        try run(["delete", "table", "inet", LockdownRules.table], "the rules could not be taken away")
    }

    /// What is loaded; `nil` if nothing is, or only root is told.
    var loaded: Loaded? {
        guard let result = try? call(["list", "table", "inet", LockdownRules.table]), result.exitCode == 0 else {
            return nil
        }
        let words = result.words.split(whereSeparator: \.isWhitespace)
        func word(_ distance: Int, behind name: Substring) -> Substring? {
            words.firstIndex(of: name).map { $0 + distance }.flatMap { words.indices.contains($0) ? words[$0] : nil }
        }
        return Loaded(
            refused: word(1, behind: "packets").flatMap { Int($0) } ?? 0,
            // nft shows the path of a cgroup in quotes, and only the number of one that is gone.
            isCurrent: word(3, behind: "cgroupv2")?.hasPrefix("\"") ?? false
        )
    }

    private func run(_ arguments: [String], input: String = "", _ fault: String) throws {
        let result = try call(arguments, input: input)
        guard result.exitCode == 0 else {
            let words = result.errorWords.split(whereSeparator: \.isNewline).first.map(String.init) ?? "no reason given"
            throw Failure("\(fault): \(words)", hints: ["lockdown needs root, Linux 5.13 and nft 0.9.9 or later"])
        }
    }

    private func call(_ arguments: [String], input: String = "") throws -> ChildProcess.Result {
        try checkIsThere()
        do throws(ChildProcess.Trouble) {
            return try ChildProcess(path: nft, arguments: arguments, environment: environment)
                .run(input: Array(input.utf8), within: 30_000)
        } catch {
            throw Failure("nft \(error == .timeout ? "did not end in half a minute" : "could not be started")")
        }
    }
}
