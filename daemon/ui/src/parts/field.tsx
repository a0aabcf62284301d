import type { ComponentChildren } from "preact";

/** A control of a form, with its label and what helps to fill it in. */
export function Field(props: { label: string; hint?: string; wide?: boolean; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is the child
    <label class={props.wide ? "wide" : ""}>
      {props.label}
      {props.children}
      {props.hint && <small>{props.hint}</small>}
    </label>
  );
}
