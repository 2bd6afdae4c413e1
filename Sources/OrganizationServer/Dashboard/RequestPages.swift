import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What people ask for, and the answers.
    func addRequestPages(_ dashboard: Dashboard) {
        let pages = RequestPages(dashboard: dashboard)
        dashboard.get(self, "requests", .readPolicy) { try await pages.list($0) }
        dashboard.post(self, "requests", .readPolicy) { try await pages.ask($0) }
        dashboard.get(self, "requests/:number", .readPolicy) { try await pages.show($0) }
        dashboard.post(self, "requests/:number/allow", .editPolicy) { try await pages.allow($0) }
        dashboard.post(self, "requests/:number/decline", .editPolicy) { try await pages.decline($0) }
        dashboard.post(self, "requests/:number/withdraw", .readPolicy) { try await pages.withdraw($0) }
    }
}

struct RequestPages: Sendable {
    let dashboard: Dashboard

    private var services: Services { dashboard.services }

    private static let days: Int64 = 30

    // MARK: - The list

    fileprivate func list(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        try await page(
            visit,
            typed: [
                "registry": visit.request.typedValue("registry") ?? "",
                "action": visit.request.typedValue("action") ?? "",
            ]
        )
    }

    /// Open ones first, then those that are answered; and a form to ask, with what was typed.
    private func page(
        _ visit: Dashboard.Visit,
        typed: [String: String],
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let mayReadAll = visit.may(.readActivity)
        let user = mayReadAll ? nil : visit.person.name
        // Each of the two lists has its further pages for itself.
        let before = try visit.request.queryNumber("before")
        let openBefore = try visit.request.queryNumber("open-before")
        let isPart = before != nil || openBefore != nil
        let open =
            before == nil
            ? try await services.store.requests(
                of: visit.organization,
                RequestFilter(state: .open, user: user, before: openBefore, limit: Paging.size)
            ) : []
        let others =
            openBefore == nil
            ? try await services.store.requests(
                of: visit.organization,
                RequestFilter(isClosed: true, user: user, before: before, limit: Paging.size)
            ) : []
        let openCount = try await services.store.openRequestCount(of: visit.organization, by: user)
        let demand =
            mayReadAll
            ? try await services.store.demand(
                for: Set(open.map(\.registry.description)),
                in: visit.organization,
                since: services.now() + -Self.days * 86_400
            ) : [:]
        let address = visit.address("requests")
        var content: [String: Any] = [
            "address": address, "mayReadAll": mayReadAll, "isPart": isPart,
            "open": rows(open, demand, visit), "hasOpen": !open.isEmpty,
            "openInWords": Dashboard.count(openCount, "request is open", "requests are open"),
            "isEnd": isPart && open.isEmpty && others.isEmpty,
            "closed": rows(others, [:], visit), "hasClosed": !others.isEmpty,
            "registry": typed["registry"] ?? "", "reason": typed["reason"] ?? "", "isPush": typed["action"] == "push",
            "asks": !mayReadAll || !(typed["registry"] ?? "").isEmpty || !more.isEmpty,
        ]
        if open.count == Paging.size, let last = open.last {
            content["nextOpen"] = "\(address)?open-before=\(last.number)"
        }
        if others.count == Paging.size, let last = others.last {
            content["next"] = "\(address)?before=\(last.number)"
        }
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "requests", title: "Requests", content: content, status: status))
    }

    private func rows(
        _ requests: [RegistryRequest],
        _ demand: [String: Store.Demand],
        _ visit: Dashboard.Visit
    ) -> [[String: Any]] {
        requests.map { row($0, demand[$0.registry.description], visit) }
    }

    /// A request as templates name it.
    private func row(
        _ request: RegistryRequest,
        _ demand: Store.Demand?,
        _ visit: Dashboard.Visit
    ) -> [String: Any] {
        var row: [String: Any] = [
            "number": request.number, "registry": request.registry.description,
            "action": request.action == .push ? "push and pull" : "pull", "reason": request.reason,
            "hasReason": !request.reason.isEmpty, "made": request.made.description, "word": request.word,
            "hasWord": !request.word.isEmpty, "isOpen": request.state == .open,
            "address": visit.address("requests/\(request.number)"),
        ]
        row["asker"] = request.user
        row["answeredBy"] = request.actor
        row["answered"] = request.answered?.description
        row["until"] = request.until?.description
        (row["state"], row["tone"]) = Self.title(of: request.state)
        if let demand, let words = Self.words(demand) { row["demand"] = words }
        if visit.may(.readMachines), let id = request.device {
            row["device"] = request.deviceName ?? id
            row["deviceAddress"] = request.deviceName.map { _ in visit.address("devices/\(id)") }
        }
        return row
    }

    private static func title(of state: RegistryRequest.State) -> (String, String) {
        switch state {
        case .open: ("Open", "info")
        case .allowed: ("Allowed", "good")
        case .declined: ("Declined", "bad")
        case .withdrawn: ("Withdrawn", "")
        case .ended: ("Ended", "warn")
        }
    }

    /// How much a registry is wanted beside the one request.
    private static func words(_ demand: Store.Demand) -> String? {
        var parts: [String] = []
        if demand.askers > 1 {
            parts.append(Dashboard.count(demand.askers - 1, "other asked for it", "others asked for it"))
        }
        if demand.machines > 0 {
            parts.append(
                Dashboard.count(demand.machines, "machine was refused it", "machines were refused it")
            )
        }
        return parts.isEmpty ? nil : "\(parts.joined(separator: ", ")) in \(days) days"
    }

    // MARK: - Asking

    fileprivate func ask(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let fields = visit.fields
        let reason = Self.oneLine(fields["reason"] ?? "")
        do {
            let (request, isNew) = try await services.ask(
                for: Self.oneLine(fields["registry"] ?? ""),
                to: fields["action"] ?? "pull",
                because: reason,
                by: .person(visit.person.name),
                in: visit.organization
            )
            return .see(
                visit.address("requests/\(request.number)"),
                message: isNew
                    ? "You have asked for \(request.registry). The answer comes here."
                    : "You have asked for \(request.registry) already; that request is still open."
            )
        } catch let problem as Problem where problem.status.code < 500 {
            let isReason = problem.detail.hasPrefix("\"reason\" must")
            return try await page(
                visit,
                typed: fields,
                [isReason ? "reasonFault" : "registryFault": Dashboard.words(problem)],
                problem.status
            )
        }
    }

    /// What was typed without white space around it, and on one line.
    private static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    // MARK: - One request

    /// The request that the path names, if the visitor may see it.
    private func request(_ visit: Dashboard.Visit) async throws -> RegistryRequest {
        guard let number = WholeNumber.read(try visit.context.parameters.require("number")) else {
            throw Problem.noRequest
        }
        let request = try await services.store.request(number, of: visit.organization)
        guard visit.may(.readActivity) || request.user == visit.person.name else { throw Problem.noRequest }
        return request
    }

    fileprivate func show(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let request = try await request(visit)
        return try await page(about: request, Self.form(for: request), visit)
    }

    /// The form with what was asked for.
    private static func form(for request: RegistryRequest) -> RegistryForm {
        var form = RegistryForm()
        form.address = request.registry.description
        form.actions = request.actions
        return form
    }

    private func page(
        about request: RegistryRequest,
        _ form: RegistryForm,
        _ visit: Dashboard.Visit,
        _ more: [String: Any] = [:],
        _ status: HTTPResponse.Status = .ok
    ) async throws -> Dashboard.Reply {
        let name = request.registry.description
        let demand =
            visit.may(.readActivity)
            ? try await services.store.demand(
                for: [name],
                in: visit.organization,
                since: services.now() + -Self.days * 86_400
            )[name] : nil
        let isOpen = request.state == .open
        var content = form.content
        content["showsMore"] =
            !form.faults.isEmpty || form.address != name || form.actions != request.actions
            || !form.repositories.isEmpty
        content["isDated"] = visit.fields["end"] == "date"
        content["date"] = visit.fields["date"] ?? ""
        content["today"] = String(services.now().description.prefix(10))
        content["typedWord"] = visit.fields["word"] ?? ""
        let inForce = try await services.publisher.served.policy(of: visit.organization)
        content["policyVersion"] = inForce?.version ?? 0
        content["seen"] = visit.fields["seen"]
        if visit.fields["acknowledgeLockOut"] == "on", let inForce {
            content["lockOut"] = services.publisher.lockOut(by: PolicyContent(inForce)).map(Dashboard.sentence)
            content["acknowledgesLockOut"] = true
        }
        content["mayAnswer"] = isOpen && visit.may(.editPolicy)
        content["mayWithdraw"] = isOpen && request.user == visit.person.name
        content["requests"] = visit.address("requests")
        content["request"] = row(request, demand, visit)
        content["here"] = visit.address("requests/\(request.number)")
        content.merge(more) { _, new in new }
        return .page(Dashboard.Page(template: "request", title: name, content: content, status: status))
    }

    // MARK: - Answers

    fileprivate func allow(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let request = try await request(visit)
        let version = try visit.number("policy")
        var form = RegistryForm(fields: visit.fields)
        func again(_ faults: [String: Any], _ status: HTTPResponse.Status = .unprocessableContent) async throws
            -> Dashboard.Reply
        {
            try await page(about: request, form, visit, faults, status)
        }
        let nothing = AccessPolicy(version: 1, organization: visit.organization, rules: [])
        guard let rule = form.rule(in: nothing, replacing: nil) else { return try await again([:]) }
        var answer = RequestAnswer(to: request)
        answer.address = rule.address
        answer.actions = rule.actions
        answer.repositories = rule.repositories
        answer.acknowledgesBroad = rule.isBroadAcknowledged
        answer.acknowledgesLockOut = visit.fields["acknowledgeLockOut"] == "on"
        answer.word = Self.oneLine(visit.fields["word"] ?? "")
        answer.version = version
        if visit.fields["end"] == "date" {
            guard let day = visit.fields["date"].flatMap({ Instant("\($0)T00:00:00Z") }) else {
                return try await again(["dateFault": "Choose the last day on which it is allowed."])
            }
            answer.until = day + 86_400
            guard let until = answer.until, RequestAnswer.isEnd(until, at: services.now()) else {
                return try await again(["dateFault": "Choose a day from today on, in ten years at most."])
            }
        } else if let date = visit.fields["date"], !date.isEmpty {
            // What was meant to end is not allowed for good.
            return try await again(["dateFault": "A last day is chosen, and For good as well. Choose one of them."])
        }
        // What the entry brings is to be seen before it is in force.
        let warnings = try await warnings(of: rule, visit)
        let seen = Hexadecimal.sha256(Array(warnings.joined(separator: "\n").utf8))
        if !warnings.isEmpty, visit.fields["seen"] != seen {
            return try await again(["warnings": warnings, "hasWarnings": true, "seen": seen])
        }
        if let fault = try await dashboard.confirm(visit) {
            return try await again(["passwordFault": fault], .forbidden)
        }
        do {
            let answered = try await services.allow(
                request.number,
                in: visit.organization,
                answer,
                by: visit.person.name
            )
            return .see(visit.address("requests"), message: Self.message(answered))
        } catch let problem as Problem where problem.code == .changedMeanwhile {
            let fault = "Somebody has saved another version of the policy meanwhile. Look at your answer once more."
            return try await again(["formFault": fault], .preconditionFailed)
        } catch let problem as Problem where problem.code == .locksOut {
            return try await again(["lockOut": Dashboard.sentence(problem.detail), "lockOutFault": true])
        } catch let problem as Problem where [.conflict, .faulty, .badRequest].contains(problem.code) {
            let now = try await services.store.request(request.number, of: visit.organization)
            return try await page(about: now, form, visit, ["formFault": Dashboard.words(problem)], problem.status)
        }
    }

    private static func message(_ answered: AnsweredRequest) -> String {
        let registry = answered.request.registry
        guard let saved = answered.saved else { return "\(registry) was allowed already. Who asked is told so." }
        let end = answered.request.until.map { " until \(Dashboard.end($0))" } ?? ""
        return "\(registry) is allowed\(end): version \(saved.document.version). Connected machines have it in seconds."
    }

    /// What an entry would bring that its owner may not have meant.
    private func warnings(of rule: RegistryRule, _ visit: Dashboard.Visit) async throws -> [String] {
        guard let policy = try await services.publisher.served.policy(of: visit.organization)?.policy else { return [] }
        return policy.with(rules: policy.rules + [rule]).warnings.unknown(to: policy).prefix(20)
            .map(Dashboard.sentence)
    }

    fileprivate func decline(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let request = try await request(visit)
        let word = Self.oneLine(visit.fields["word"] ?? "")
        guard RegistryRequest.isText(word) else {
            let fault = "This is at most \(RegistryRequest.longestText) characters."
            return try await page(
                about: request,
                Self.form(for: request),
                visit,
                ["wordFault": fault],
                .unprocessableContent
            )
        }
        _ = try await services.decline(request.number, in: visit.organization, word: word, by: visit.person.name)
        return .see(visit.address("requests"), message: "\(request.registry) is declined. Who asked is told so.")
    }

    fileprivate func withdraw(_ visit: Dashboard.Visit) async throws -> Dashboard.Reply {
        let request = try await request(visit)
        _ = try await services.withdraw(
            request.number,
            in: visit.organization,
            by: .person(visit.person.name)
        )
        return .see(visit.address("requests"), message: "You have taken the request for \(request.registry) back.")
    }
}
