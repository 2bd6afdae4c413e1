/// Tells those who wait that something of an organization has changed: its documents, its sessions, its devices.
///
/// It carries no news, only the occasion to look: whoever waits reads ``count(of:)`` first and the database then, so that
/// no change falls between the two. The counts begin anew with the process and are no cursor for a client.
///
/// ```swift
/// let seen = await changes.count(of: organization)
/// if try await store.isNewest(cursor) {
///     _ = await changes.change(of: organization, after: seen, within: .seconds(30))
/// }
/// ```
actor ChangeFeed {
    private struct Waiter {
        let continuation: CheckedContinuation<Void, Never>
        let end: ContinuousClock.Instant
    }

    /// How long two looks are apart at least.
    private static let grain = Duration.milliseconds(100)

    private var counts: [String: UInt64] = [:]
    private var waiting: [String: [UInt64: Waiter]] = [:]
    /// When those are looked for whose time is over; one for all of them, for there are thousands.
    private var alarm: (task: Task<Void, Never>, time: ContinuousClock.Instant)?
    private var lastWaiter: UInt64 = 0
    /// Whether the server stops.
    private(set) var isFinished = false

    /// How often an organization has changed since the process began.
    ///
    /// - Parameter organization: which.
    /// - Returns: the count to wait after.
    func count(of organization: String) -> UInt64 { counts[organization] ?? 0 }

    /// How many wait, for tests and figures.
    var waiterCount: Int { waiting.values.reduce(0) { $0 + $1.count } }

    /// Wakes everybody who waits for an organization; to be called when the transaction is over.
    ///
    /// - Parameter organization: what has changed.
    func notify(_ organization: String) {
        counts[organization, default: 0] += 1
        wakeAll(of: organization)
    }

    /// Wakes everybody, and lets nobody wait any more: the server stops.
    func finish() {
        isFinished = true
        alarm?.task.cancel()
        for organization in waiting.keys { wakeAll(of: organization) }
    }

    /// Waits until an organization changes.
    ///
    /// - Parameters:
    ///   - organization: which.
    ///   - seen: the count that was read before looking; if it is not the newest any more, this returns at once.
    ///   - deadline: how long to wait at most. A cancelled task and a server that stops do not wait.
    /// - Returns: the newest count; `seen` if nothing has changed.
    func change(of organization: String, after seen: UInt64, within deadline: Duration) async -> UInt64 {
        guard count(of: organization) == seen, deadline > .zero, !isFinished else { return count(of: organization) }
        lastWaiter += 1
        let waiter = lastWaiter
        let end = ContinuousClock.now + deadline
        setAlarm(at: end)
        await withTaskCancellationHandler {
            // No other call of this actor runs before the continuation is kept, so none can miss it.
            await withCheckedContinuation {
                waiting[organization, default: [:]][waiter] = Waiter(continuation: $0, end: end)
            }
        } onCancel: {
            Task { await self.wake(waiter, of: organization) }
        }
        return count(of: organization)
    }

    private func wake(_ waiter: UInt64, of organization: String) {
        waiting[organization]?.removeValue(forKey: waiter)?.continuation.resume()
        if waiting[organization]?.isEmpty ?? false { waiting[organization] = nil }
    }

    private func wakeAll(of organization: String) {
        for waiter in (waiting.removeValue(forKey: organization) ?? [:]).values { waiter.continuation.resume() }
    }

    private func setAlarm(at time: ContinuousClock.Instant) {
        guard alarm.map({ time < $0.time }) ?? true else { return }
        alarm?.task.cancel()
        let task = Task {
            guard (try? await Task.sleep(until: time, clock: .continuous)) != nil else { return }
            self.wakeOverdue()
        }
        alarm = (task, time)
    }

    private func wakeOverdue() {
        alarm = nil
        let now = ContinuousClock.now
        var next: ContinuousClock.Instant?
        for (organization, waiters) in waiting {
            for (waiter, state) in waiters {
                if state.end <= now {
                    wake(waiter, of: organization)
                } else {
                    next = min(next ?? state.end, state.end)
                }
            }
        }
        if let next { setAlarm(at: max(next, now + Self.grain)) }
    }
}
