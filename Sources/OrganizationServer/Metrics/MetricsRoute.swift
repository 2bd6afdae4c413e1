import GRDB
import HTTPTypes
import Hummingbird
import NIOCore
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What Prometheus reads.
    ///
    /// It names no organization and no person. It is for this machine, and for who has the scope `metrics:read` in some
    /// organization of the server; behind a proxy every request comes from this machine, so a token is needed then.
    func addMetricsRoute(_ services: Services) {
        get("metrics") { _, context -> Response in
            if !context.isFromThisMachine(services.settings) { try context.authorizeMetrics() }
            let text = try await services.metricsText()
            return Response(
                status: .ok,
                headers: [.contentType: PrometheusText.mediaType],
                body: ResponseBody(byteBuffer: ByteBuffer(string: text))
            )
        }
    }
}

extension ServerContext {
    /// Lets those go on who may read the server's figures.
    fileprivate func authorizeMetrics() throws(Problem) {
        guard case .person(let person) = caller else { throw Problem.notSignedIn }
        guard person.roles.keys.contains(where: { person.may(.readMetrics, in: $0) }) else {
            throw Problem(
                .forbidden,
                .forbidden,
                "this needs \"\(Permission.readMetrics.rawValue)\"",
                hint: "read it on the server's machine, or use an owner's token with this scope"
            )
        }
    }
}

/// What the database holds, counted.
private struct StoredFigures: Sendable {
    var organizations = 0
    var sessions = 0
    var bytes = 0
    var freeBytes = 0
}

extension Services {
    /// Everything that there is to read.
    fileprivate func metricsText() async throws -> String {
        let counts = metrics.counts
        let devices = try await deviceCounts()
        let stored = try await store.figures(at: now())
        let load = await passwords.load
        let waiting = await waiting.count
        var text = PrometheusText()
        addRequests(counts, to: &text)
        addMachines(counts, devices, waiting, to: &text)
        addSignIns(counts, stored, to: &text)
        text.add(
            "docker_ram_password_hashes",
            .gauge,
            "Password hashes that are computed, and that wait for it.",
            [([("state", "running")], Double(load.running)), ([("state", "waiting")], Double(load.waiting))]
        )
        text.add(
            "docker_ram_policies_saved_total",
            .counter,
            "Policy versions that were made, by how.",
            [
                ([("how", "saved")], counts.number(.policiesSaved)),
                ([("how", "rolled_back")], counts.number(.policiesRolledBack)),
            ]
        )
        text.add("docker_ram_organizations", .gauge, "Organizations.", Double(stored.organizations))
        text.add(
            "docker_ram_database_bytes",
            .gauge,
            "Size of the database without its log, and what of it is free.",
            [([("part", "all")], Double(stored.bytes)), ([("part", "free")], Double(stored.freeBytes))]
        )
        text.add(
            histogram: "docker_ram_database_commit_duration_seconds",
            "How long it took to bring a transaction to the disk.",
            [([], counts.commits)]
        )
        addProcess(to: &text)
        return text.text
    }

    private func addRequests(_ counts: Metrics.Counts, to text: inout PrometheusText) {
        let requests = counts.requests.sorted { left, right in
            (left.key.pattern, left.key.method, left.key.status) < (
                right.key.pattern, right.key.method, right.key.status
            )
        }
        text.add(
            histogram: "docker_ram_http_request_duration_seconds",
            "How long requests took, by the pattern of their route; those of no route are under \"none\".",
            requests.map { route, histogram in
                ([("method", route.method), ("route", route.pattern), ("status", route.status)], histogram)
            }
        )
        text.add(
            "docker_ram_rate_limited_total",
            .counter,
            "Requests that were refused because something was tried too often, by what.",
            RateLimits.Limit.allCases.map { limit in
                ([("limit", limit.rawValue)], Double(counts.limited[limit] ?? 0))
            }
        )
    }

    private func addMachines(
        _ counts: Metrics.Counts,
        _ devices: [Device.State: Int],
        _ waiting: Int,
        to text: inout PrometheusText
    ) {
        text.add("docker_ram_machines_waiting", .gauge, "Machines that wait for a change now.", Double(waiting))
        text.add(
            "docker_ram_machines",
            .gauge,
            "Machines by their state.",
            Device.State.allCases.map { state in
                ([("state", state.rawValue)], Double(devices[state] ?? 0))
            }
        )
        text.add(
            "docker_ram_machine_registrations_total",
            .counter,
            "Machines that registered, or were not let in.",
            [
                ([("result", "registered")], counts.number(.devicesRegistered)),
                ([("result", "refused")], counts.number(.devicesRefused)),
            ]
        )
        text.add(
            "docker_ram_reports_total",
            .counter,
            "Reports of machines that were taken.",
            counts.number(.reports)
        )
        text.add(
            "docker_ram_refusals_total",
            .counter,
            "Refusals in the reports that were taken.",
            counts.number(.refusals)
        )
    }

    private func addSignIns(_ counts: Metrics.Counts, _ stored: StoredFigures, to text: inout PrometheusText) {
        text.add(
            "docker_ram_sign_ins_total",
            .counter,
            "Sign-ins by their kind and how they went.",
            Metrics.SignIn.allCases.flatMap { kind in
                Metrics.SignInResult.allCases.map { result in
                    (
                        [("kind", kind.rawValue), ("result", result.rawValue)],
                        Double(counts.signIns[kind]?[result] ?? 0)
                    )
                }
            }
        )
        text.add("docker_ram_sessions", .gauge, "Sessions that have not ended.", Double(stored.sessions))
        text.add(
            "docker_ram_sessions_ended_total",
            .counter,
            "Sessions that were ended before their time, by why.",
            Metrics.SessionEnd.allCases.map { reason in
                ([("reason", reason.rawValue)], Double(counts.sessionsEnded[reason] ?? 0))
            }
        )
    }

    private func addProcess(to text: inout PrometheusText) {
        let process = ProcessFigures.read()
        text.add(
            "docker_ram_build_info",
            .gauge,
            "The program's version.",
            [([("version", ProductVersion.text)], 1)]
        )
        if let bytes = process.residentBytes {
            text.add("process_resident_memory_bytes", .gauge, "Memory that the process has.", bytes)
        }
        if let seconds = process.cpuSeconds {
            text.add("process_cpu_seconds_total", .counter, "Time that the process has computed.", seconds)
        }
        if let start = process.startTime {
            text.add("process_start_time_seconds", .gauge, "When the process began, since 1970.", start)
        }
        if let count = process.openFiles {
            text.add("process_open_fds", .gauge, "Open files and connections.", count)
        }
    }
}

extension Metrics.Counts {
    fileprivate func number(_ event: Metrics.Event) -> Double { Double(events[event] ?? 0) }
}

extension Store {
    /// Counts what is there.
    ///
    /// - Parameter now: the time.
    /// - Returns: the figures.
    /// - Throws: what SQLite says.
    fileprivate func figures(at now: Instant) async throws -> StoredFigures {
        try await database.read { database in
            func number(_ sql: String, _ arguments: StatementArguments = []) throws -> Int {
                try Int.fetchOne(database, sql: sql, arguments: arguments) ?? 0
            }
            let pageSize = try number("PRAGMA page_size")
            return StoredFigures(
                organizations: try number("SELECT count(*) FROM organization"),
                sessions: try number("SELECT count(*) FROM session WHERE ended IS NULL AND expires > ?", [now.seconds]),
                bytes: try number("PRAGMA page_count") * pageSize,
                freeBytes: try number("PRAGMA freelist_count") * pageSize
            )
        }
    }
}
