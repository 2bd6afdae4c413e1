import NIOCore
import RegistryAccess
import SignedPolicy

/// Answers devices that wait for a change, those of one organization together.
///
/// Ten thousand machines that wait are as many entries of a dictionary here, and a change is read from the database once for
/// all of them. What is not in order is given to the router, which says what is wrong.
actor WaitingDevices {
    private let store: Store
    private let served: ServedDocuments
    private let feed: ChangeFeed
    private let lastSeen: LastSeen
    private let now: @Sendable () -> Instant

    private var held: [String: [ObjectIdentifier: Held]] = [:]
    /// The organizations whose changes are waited for here.
    private var watched: Set<String> = []

    private struct Held {
        let poll: ChangesPoll
        let look: ChangesPoll.Look

        /// Says that nothing has changed.
        func answer() { poll.answer(look.unchanged, look) }
    }

    /// How long two looks for whose time is over are apart at least.
    private static let grain = Duration.milliseconds(100)
    /// How long a device that asks on is not looked up anew as long as nothing changes.
    private static let longestTrust = Duration.seconds(60)

    /// Nobody waits yet.
    ///
    /// - Parameters:
    ///   - store: the database.
    ///   - served: what organizations serve.
    ///   - changes: says when to look.
    ///   - lastSeen: where it is noted who was there.
    ///   - now: the time.
    init(
        _ store: Store,
        _ served: ServedDocuments,
        _ changes: ChangeFeed,
        _ lastSeen: LastSeen,
        now: @escaping @Sendable () -> Instant
    ) {
        self.store = store
        self.served = served
        feed = changes
        self.lastSeen = lastSeen
        self.now = now
    }

    /// How many are held here, for tests.
    var heldCount: Int { held.values.reduce(0) { $0 + $1.count } }

    /// How many wait, those included for whom the router does.
    var count: Int { get async { await feed.waiterCount - watched.count + heldCount } }

    /// Answers a question: at once if the device does not know the newest state, else when there is one or its time is over.
    ///
    /// A question of whom the database does not know as who they say is the router's.
    ///
    /// - Parameter poll: the question.
    nonisolated func ask(_ poll: ChangesPoll) async {
        let question = poll.question
        // All devices ask on right after a change, while others are still being told of it.
        if let look = poll.look, look.time + Self.longestTrust > .now, poll.end > .now, await hold(poll, look) {
            return lastSeen.note(question.device, in: question.organization, at: now())
        }
        do {
            while true {
                // The count is read first, so that no change falls between the two.
                let count = await feed.count(of: question.organization)
                let time = ContinuousClock.now
                guard
                    let changes = try await store.deviceChanges(
                        of: question.device,
                        showing: question.secret,
                        in: question.organization
                    )
                else { return poll.leaveToRouter() }
                lastSeen.note(question.device, in: question.organization, at: now())
                let newest = try await served.newest(of: question.organization)
                let answer = ChangesAnswer(changes, newest, after: question.after)
                let look = ChangesPoll.Look(unchanged: answer.unchanged, count: count, time: time)
                if answer.cursor != question.after || poll.end <= .now { return poll.answer(answer, look) }
                if await hold(poll, look) { return }
            }
        } catch {
            poll.leaveToRouter()
        }
    }

    /// Forgets a question whose connection is closed, and which is ``ChangesPoll/isGone``.
    ///
    /// - Parameter poll: the question.
    func forget(_ poll: ChangesPoll) {
        held[poll.question.organization]?[ObjectIdentifier(poll)] = nil
    }

    /// Lets a device wait.
    ///
    /// - Returns: `false` if something has changed meanwhile, so that it has to be looked at again.
    private func hold(_ poll: ChangesPoll, _ look: ChangesPoll.Look) async -> Bool {
        let organization = poll.question.organization
        held[organization, default: [:]][ObjectIdentifier(poll)] = Held(poll: poll, look: look)
        if watched.insert(organization).inserted { Task { await watch(organization, after: look.count) } }
        if poll.isGone {
            forget(poll)
            return true
        }
        // Who watches may have seen that change before this one was held.
        guard await feed.count(of: organization) != look.count else { return true }
        return held[organization]?.removeValue(forKey: ObjectIdentifier(poll)) == nil
    }

    /// Waits for changes of an organization as long as there is somebody to be told of them.
    private func watch(_ organization: String, after first: UInt64) async {
        var seen = first
        while let end = held[organization]?.values.map(\.poll.end).min() {
            let left = max(end - .now, Self.grain)
            let count = await feed.change(of: organization, after: seen, within: left)
            let isFinished = await feed.isFinished
            if count != seen {
                seen = count
                await tell(organization, of: count)
            }
            let now = ContinuousClock.now
            for (id, held) in held[organization] ?? [:] where held.poll.end <= now || isFinished {
                self.held[organization]?[id] = nil
                held.answer()
            }
        }
        held[organization] = nil
        watched.remove(organization)
    }

    /// Tells those who wait now, and for whom something has changed.
    ///
    /// - Parameters:
    ///   - organization: whose devices.
    ///   - count: how often it has changed.
    private func tell(_ organization: String, of count: UInt64) async {
        // Who comes while this is read has seen what is newer.
        let waiting = held[organization] ?? [:]
        let time = ContinuousClock.now
        let states: [String: DeviceChanges]
        let newest: ServedDocuments.Newest?
        do {
            states = try await store.deviceChanges(in: organization)
            newest = try await served.newest(of: organization)
        } catch {
            // They ask again, and the router says what is wrong.
            for (id, one) in waiting where held[organization]?.removeValue(forKey: id) != nil {
                one.answer()
            }
            return
        }
        var round = ChangesPoll.Round(newest, count: count, at: time)
        for (id, one) in waiting where held[organization]?[id] != nil {
            let device = one.poll.question.device
            guard let changes = states[device] else {
                held[organization]?[id] = nil
                one.poll.leaveToRouter()
                continue
            }
            guard round.tell(one.poll, changes) else { continue }
            held[organization]?[id] = nil
            lastSeen.note(device, in: organization, at: now())
        }
        round.send()
    }
}
