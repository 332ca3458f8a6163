// What this replica can do right now and why, its figures, and the members it knows.
import type { Member } from '@wepaxos/core'
import { css, html, LitElement, nothing, type TemplateResult } from 'lit'
import { count, describeKept, describeStatus } from '../plain-words.ts'
import { EventsController, StatsController } from '../replica-controller.ts'
import type { RoomPresence } from '../room-presence.ts'
import type { StoreReplica } from '../store.ts'
import './copy-button.ts'
import { controls, hues, panel } from './shared-styles.ts'

const hashShown = 12

export class StatusPanel extends LitElement {
  static override properties = {
    replica: { attribute: false },
    presence: { attribute: false },
    visitors: { attribute: false },
  }
  static override styles = [
    controls,
    panel,
    hues,
    css`
      :host {
        display: block;
      }
      .meaning {
        margin-bottom: var(--space-3);
        font-size: var(--text-s);
      }
      .quorum {
        display: flex;
        align-items: center;
        gap: 5px;
        margin-bottom: var(--space-2);
      }
      .seat {
        width: 0.8rem;
        height: 0.8rem;
        border: 2px solid var(--control-line);
        border-radius: 50%;
      }
      .seat.reached {
        border-color: var(--good);
        background: var(--good);
      }
      .quorum span:last-child {
        margin-left: var(--space-2);
        color: var(--muted);
        font-size: var(--text-s);
      }
      dl {
        display: grid;
        grid-template-columns: auto minmax(0, 1fr);
        gap: 0.15rem var(--space-4);
        margin: 0;
        font-size: var(--text-s);
        line-height: 1.7;
      }
      dt {
        color: var(--muted);
      }
      dd {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        justify-content: flex-end;
        gap: 0 0.3em;
        margin: 0;
        font-variant-numeric: tabular-nums;
        text-align: right;
      }
      copy-button {
        margin: -0.4rem -0.5rem -0.4rem 0;
      }
      h3 {
        margin: var(--space-4) 0 var(--space-2);
        padding-top: var(--space-3);
        border-top: 1px solid var(--line);
        font-size: var(--text-s);
        font-weight: 600;
      }
      ul {
        display: grid;
        gap: 0.3rem;
        margin: 0;
        padding: 0;
        list-style: none;
        font-size: var(--text-s);
      }
      li {
        display: flex;
        align-items: center;
        gap: 0.5em;
      }
      li::before {
        flex: none;
        width: 0.65em;
        height: 0.65em;
        border-radius: 50%;
        background: var(--hue, var(--control-line));
        content: '';
      }
      li.away {
        color: var(--muted);
      }
      li.away::before {
        border: 2px solid var(--control-line);
        background: transparent;
      }
      li code {
        color: var(--muted);
        font-size: var(--text-xs);
      }
      li .role {
        margin-left: auto;
        color: var(--muted);
      }
      .name {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
    `,
  ]

  declare replica: StoreReplica
  declare presence: RoomPresence
  /** Given so that the panel renders when names change. */
  declare visitors: RoomPresence['others']
  readonly #stats = new StatsController(this, () => this.replica)

  constructor() {
    super()
    new EventsController(this, () => this.replica, ['status', 'members'])
  }

  protected override render(): TemplateResult | typeof nothing {
    const stats = this.#stats.value
    if (stats === undefined) return nothing
    const { members, status } = this.replica
    const voters = members.filter((member) => member.role === 'voter')
    const reachable = voters.filter((member) => member.self || member.connected).length
    const self = members.find((member) => member.self)
    const words = describeStatus(status, { members, slowQuorum: stats.slowQuorum })
    const decided = stats.fastPath + stats.slowPath
    return html`<section aria-labelledby="title">
      <h2 id="title">This replica</h2>
      <p class="meaning" data-testid="status-meaning">${words.meaning}</p>
      <div class="quorum" data-testid="quorum" data-reachable=${reachable} data-needed=${stats.slowQuorum}>
        ${voters.map(
          (member) =>
            html`<span class="seat ${member.self || member.connected ? 'reached' : ''}" aria-hidden="true"></span>`,
        )}
        <span>${reachable} of ${stats.voters} reachable, ${stats.slowQuorum} needed</span>
      </div>
      <dl>
        <dt>Voters</dt>
        <dd data-testid="voters">${stats.voters}</dd>
        ${
          members.length > voters.length
            ? html`<dt>Observers</dt>
                <dd data-testid="observers">${members.length - voters.length}</dd>`
            : nothing
        }
        <dt>Epoch</dt>
        <dd data-testid="epoch">${stats.epoch}</dd>
        <dt>Commands executed</dt>
        <dd data-testid="executed" data-executed=${stats.executed}>${stats.executed.toLocaleString('en')}</dd>
        ${
          stats.pending > 0
            ? html`<dt>Own, pending</dt>
                <dd data-testid="pending-count">${stats.pending}</dd>`
            : nothing
        }
        <dt>Own, by path</dt>
        <dd title="${decided} commands of this page were agreed on: in one round trip (fast) or in two (slow)">
          ${
            self?.role === 'observer'
              ? html`<span data-testid="through-a-voter">through a voter</span>`
              : html`<span><span data-testid="fast-path">${stats.fastPath}</span> fast</span> ·
                  <span><span data-testid="slow-path">${stats.slowPath}</span> slow</span>`
          }
        </dd>
        <dt>State hash</dt>
        <dd>
          <code data-testid="state-hash" data-hash=${stats.stateHash} title=${stats.stateHash}
            >${stats.stateHash.slice(0, hashShown)}</code
          ><copy-button compact label="the state hash" .text=${stats.stateHash}></copy-button>
        </dd>
        <dt>Kept on disk</dt>
        <dd data-testid="kept" title="How durable an answer is, and whether the browser may delete this by itself when space runs short">
          ${describeKept(stats.storage)}
        </dd>
        ${
          stats.hosted.length === 0
            ? nothing
            : html`<dt>Also runs</dt>
                <dd data-testid="hosted" title="Their own tabs died. They are run here until those are back, or have made place">
                  ${count(stats.hosted.length, 'replica')} of closed tabs
                </dd>`
        }
      </dl>
      <h3>Members</h3>
      <ul data-testid="members">
        ${members.map((member) => this.#renderMember(member))}
      </ul>
    </section>`
  }

  #renderMember({ id, role, self, connected }: Member): TemplateResult {
    const here = self || connected
    return html`<li class=${here ? '' : 'away'} data-hue=${(here ? this.presence.hueOf(id) : undefined) ?? nothing} data-testid="member" data-replica=${id}>
      <span class="name">${this.presence.nameOf(id)}</span><code title=${id}>${id.slice(0, 6)}</code>
      <span class="role">${self ? 'you, ' : ''}${role}${here ? '' : ', away'}</span>
    </li>`
  }
}

customElements.define('status-panel', StatusPanel)

declare global {
  interface HTMLElementTagNameMap {
    'status-panel': StatusPanel
  }
}
