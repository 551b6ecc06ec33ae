import { useContext, useId, useState } from "preact/hooks";
import { number, plural } from "../shared/words";
import { LiveContext, type PresentService } from "./present";

/** Limits on what a page may request. */
const CONNECTIONS_MAX = 1_000_000;
const USERS_MAX = 1_000;

/** Actions on the whole platform; those on one server are in its details. */
export function Actions() {
  const live = useContext(LiveContext);
  const platform = live?.present?.platform;
  if (!live?.present) return <p class="faint">Nothing is known about the platform yet.</p>;
  if (!live.mayAct) {
    return (
      <p class="faint">
        {live.present.acts
          ? `This page is read-only. To act, open the full address that ${live.present.printed_by} prints, including the part after #.`
          : "This page is read-only: it is served with --read-only."}
      </p>
    );
  }
  const services = platform?.services ?? [];
  const has = (name: string) => services.some((service) => service.name === name);
  return (
    <div class="actions">
      <div>
        <h3>Replicas</h3>
        {services.map((service) => (
          <Scale key={service.name} service={service} />
        ))}
      </div>
      <Load />
      {has("ws") && <Connect />}
    </div>
  );
}

function Scale({ service }: { service: PresentService }) {
  const live = useContext(LiveContext);
  // Null: the desired number.
  const [wanted, want] = useState<number | null>(null);
  const replicas = wanted ?? service.desired;
  const { name, desired, autoscaler } = service;
  const fewer = `Scale ${name} from ${number(desired)} to ${number(replicas)}? ${plural(desired - replicas, "replica")} will be drained; clients reconnect elsewhere${replicas === 0 ? ", if they can" : ""}.`;
  return (
    <form
      class="line"
      onSubmit={(event) => {
        event.preventDefault();
        live?.act({ do: "scale", service: name, replicas }, replicas < desired ? fewer : undefined);
        want(null);
      }}
    >
      <label>
        {name} <input type="number" min={0} max={200} required value={Number.isNaN(replicas) ? "" : replicas} onInput={(event) => want(event.currentTarget.valueAsNumber)} />
      </label>
      <button type="submit" disabled={replicas === desired || Number.isNaN(replicas)} aria-label={`Scale ${name}`}>
        Scale
      </button>
      {autoscaler && (
        <span class="faint">
          autoscaled {autoscaler.min} to {autoscaler.max}
        </span>
      )}
    </form>
  );
}

function Load() {
  const live = useContext(LiveContext);
  const [scenario, choose] = useState("tcp-10k");
  const [connections, setConnections] = useState("");
  const [hold, setHold] = useState("");
  const id = useId();
  const load = live?.present?.load;
  const about = live?.present?.scenarios.find(({ name }) => name === scenario)?.about;
  const count = (text: string) => (text === "" ? null : Number(text));
  return (
    <div>
      <h3>Load</h3>
      <form
        class="line"
        onSubmit={(event) => {
          event.preventDefault();
          live?.act({ do: "start_load", scenario, connections: count(connections), hold_s: count(hold) });
        }}
      >
        <label>
          Scenario{" "}
          <select value={scenario} aria-describedby={id} onChange={(event) => choose(event.currentTarget.value)}>
            {live?.present?.scenarios.map(({ name }) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          Connections{" "}
          <input type="number" min={1} max={CONNECTIONS_MAX} value={connections} placeholder="default" onInput={(event) => setConnections(event.currentTarget.value)} />
        </label>
        <label>
          Hold, s <input type="number" min={0} max={86400} value={hold} placeholder="default" onInput={(event) => setHold(event.currentTarget.value)} />
        </label>
        <button type="submit" disabled={load?.running}>
          Start
        </button>
        <button type="button" disabled={!load?.running} onClick={() => live?.act({ do: "stop_load" })}>
          Stop the load
        </button>
      </form>
      <p id={id} class="faint">
        {about}
      </p>
      {load && <p>{load.running ? `${load.scenario} is running.` : `${load.scenario}: ${load.outcome}.`}</p>}
    </div>
  );
}

function Connect() {
  const live = useContext(LiveContext);
  const [users, setUsers] = useState(1);
  return (
    <div>
      <h3>Users</h3>
      <form
        class="line"
        onSubmit={(event) => {
          event.preventDefault();
          live?.act({ do: "connect", users });
        }}
      >
        <label>
          Number of users{" "}
          <input type="number" min={1} max={USERS_MAX} required value={users} onInput={(event) => setUsers(event.currentTarget.valueAsNumber || 1)} />
        </label>
        <button type="submit">Connect</button>
      </form>
    </div>
  );
}
